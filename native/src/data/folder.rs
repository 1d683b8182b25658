//! A folder of images with one sub-folder per class (ImageNet's layout).

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use slimclr_core::{
    augment::Normalisation,
    data::{
        decode,
        folder::{HOLD_OUT, TEST_NAMES, TRAIN_NAME, hold_out, is_image},
        reduced::ReducedImage,
    },
    image::Image,
};

use super::{Dataset, Images};
use crate::terminal::spinner;

/// Lists the images in `root/train/CLASS` and `root/val/CLASS`, or in `root/CLASS`, where every tenth image is held out
/// for testing. Skips images without a valid header, with a warning.
///
/// # Errors
/// If there are no classes, or a class has no readable image.
pub fn scan(root: &Path) -> Result<Dataset> {
    let (train_root, test_root) = match root.join(TRAIN_NAME) {
        train if train.is_dir() => {
            let test = TEST_NAMES.iter().map(|name| root.join(name)).find(|path| path.is_dir());
            (train, test)
        }
        _ => (root.to_path_buf(), None),
    };
    let classes = sub_folders(&train_root)?;
    if classes.is_empty() {
        bail!("{}: there are no class folders; name a folder with one sub-folder of images per class", root.display());
    }
    let spinner = spinner("reading image headers");
    let mut skipped = Vec::new();
    let mut train = images(&train_root, &classes, &mut skipped)?;
    let test = match test_root {
        Some(test_root) => images(&test_root, &classes, &mut skipped)?,
        None => hold_out(&mut train),
    };
    if test.is_empty() {
        bail!(
            "{}: there are no test images; add a folder 'val' beside 'train', or at least {HOLD_OUT} images per class",
            root.display()
        );
    }
    spinner.finish_and_clear();
    warn_of_skipped(&skipped);
    let images = [train, test].map(Images::Files);
    Ok(Dataset::new(root.display().to_string(), root, (classes, Normalisation::IMAGENET), images))
}

/// Prints a warning with the number of skipped images and the first three names.
pub fn warn_of_skipped(skipped: &[PathBuf]) {
    let what = match skipped.len() {
        0 => return,
        1 => "1 unreadable image was skipped".into(),
        many => format!("{many} unreadable images were skipped"),
    };
    let names: Vec<String> = skipped.iter().take(3).map(|path| path.display().to_string()).collect();
    let more = if skipped.len() > 3 { ", …" } else { "" };
    eprintln!("warning: {what}: {}{more}", names.join(", "));
}

fn images(root: &Path, classes: &[String], skipped: &mut Vec<PathBuf>) -> Result<Vec<(PathBuf, u32)>> {
    let mut images = Vec::new();
    for (label, class) in (0..).zip(classes) {
        let folder = root.join(class);
        if !folder.is_dir() {
            bail!(
                "{}: there is no folder for class '{class}', which has training images; add one with its test images",
                root.display()
            );
        }
        let files = files(&folder)?;
        let (good, bad): (Vec<PathBuf>, Vec<PathBuf>) = files.into_par_iter().partition(|path| has_usable_header(path));
        if good.is_empty() {
            let problem = if bad.is_empty() { "is empty" } else { "has no readable image" };
            bail!("class folder {} {problem}: add JPEG, PNG or WebP images, or remove it", folder.display());
        }
        skipped.extend(bad);
        images.extend(good.into_iter().map(|path| (path, label)));
    }
    Ok(images)
}

fn has_usable_header(path: &Path) -> bool {
    fs::File::open(path).is_ok_and(|file| decode::has_usable_header(BufReader::new(file)))
}

/// Decodes an image file.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn decode(path: &Path) -> Result<Image> {
    let decode = || anyhow::Ok(decode::decode(BufReader::new(fs::File::open(path)?))?);
    decode().with_context(|| format!("cannot decode {}", path.display()))
}

/// Decodes an image file for views, at the fraction of its size that `reduction` returns for its width and height.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn decode_reduced(path: &Path, reduction: impl FnOnce([usize; 2]) -> usize) -> Result<ReducedImage<'static>> {
    let decode = || anyhow::Ok(decode::decode_reduced(&fs::read(path)?, reduction)?);
    decode().with_context(|| format!("cannot decode {}", path.display()))
}

fn sub_folders(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in entries(root)? {
        if entry.path().is_dir() {
            match entry.file_name().into_string() {
                Ok(name) if !name.starts_with('.') => names.push(name),
                _ => {}
            }
        }
    }
    names.sort();
    Ok(names)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = entries(folder)?.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.is_file() && is_image(&path.to_string_lossy()));
    files.sort();
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let list = || fs::read_dir(folder)?.collect::<std::io::Result<_>>();
    list().with_context(|| format!("cannot list {}", folder.display()))
}
