//! A folder of images, one sub-folder a class (ImageNet's layout).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use image::ImageReader;
use rayon::prelude::*;
use slimclr_core::{augment::Normalisation, image::Image};

use super::{Dataset, Images};
use crate::terminal::spinner;

/// Names that a folder of test images may have beside one of training images, `train`.
const TEST_NAMES: [&str; 3] = ["val", "test", "validation"];
/// Without a folder of test images, every tenth image of a class is held out.
const HOLD_OUT: usize = 10;
/// Images with a shorter side carry nothing to learn from.
const SMALLEST: u32 = 8;
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Lists the images below `root`: `root/train/CLASS/…` and `root/val/CLASS/…`, or `root/CLASS/…`, of which
/// every tenth image is then held out for testing. Headers are read on all cores; images that have none are
/// skipped with a warning.
///
/// # Errors
/// If there are no classes, or a class has no readable image.
pub fn scan(root: &Path) -> Result<Dataset> {
    let (train_root, test_root) = match root.join("train") {
        train if train.is_dir() => {
            let test = TEST_NAMES.iter().map(|name| root.join(name)).find(|path| path.is_dir());
            (train, test)
        }
        _ => (root.to_path_buf(), None),
    };
    let classes = sub_folders(&train_root)?;
    if classes.is_empty() {
        bail!("{}: no class folders are here; give a folder with one sub-folder of images a class", root.display());
    }
    let spinner = spinner("reading the headers of the images");
    let mut skipped = Vec::new();
    let mut train = images(&train_root, &classes, &mut skipped)?;
    let test = match test_root {
        Some(test_root) => images(&test_root, &classes, &mut skipped)?,
        None => hold_out(&mut train),
    };
    if test.is_empty() {
        bail!(
            "{}: no test images: add a folder 'val' beside 'train', or at least {HOLD_OUT} images a class",
            root.display()
        );
    }
    spinner.finish_and_clear();
    warn_of_skipped(&skipped);
    Ok(Dataset {
        name: root.display().to_string(),
        classes,
        normalisation: Normalisation::IMAGENET,
        train: Images::Files(train),
        test: Images::Files(test),
    })
}

/// Says which images were left out, by their first three names.
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

/// Takes every tenth image of each class out of `train`.
fn hold_out(train: &mut Vec<(PathBuf, u32)>) -> Vec<(PathBuf, u32)> {
    let mut of_class = std::collections::HashMap::<u32, usize>::new();
    let (test, kept) = train.drain(..).partition(|(_, label)| {
        let place = of_class.entry(*label).or_default();
        *place += 1;
        place.is_multiple_of(HOLD_OUT)
    });
    *train = kept;
    test
}

fn images(root: &Path, classes: &[String], skipped: &mut Vec<PathBuf>) -> Result<Vec<(PathBuf, u32)>> {
    let mut images = Vec::new();
    for (label, class) in (0..).zip(classes) {
        let folder = root.join(class);
        if !folder.is_dir() {
            bail!(
                "{}: class '{class}' has training images, but no folder here: add one with its test images",
                root.display()
            );
        }
        let files = files(&folder)?;
        let (good, bad): (Vec<PathBuf>, Vec<PathBuf>) = files.into_par_iter().partition(|path| has_usable_header(path));
        if good.is_empty() {
            let found = if bad.is_empty() { "is empty" } else { "has no readable image" };
            bail!("class folder {} {found}: add JPEG, PNG or WebP images or remove it", folder.display());
        }
        skipped.extend(bad);
        images.extend(good.into_iter().map(|path| (path, label)));
    }
    Ok(images)
}

fn has_usable_header(path: &Path) -> bool {
    reader(path)
        .and_then(|reader| Ok(reader.into_dimensions()?))
        .is_ok_and(|(width, height)| width.min(height) >= SMALLEST)
}

/// By content, whatever the extension says.
fn reader(path: &Path) -> Result<ImageReader<std::io::BufReader<fs::File>>> {
    Ok(ImageReader::open(path)?.with_guessed_format()?)
}

/// Decodes an image file.
///
/// # Errors
/// If it is no intact image.
pub fn decode(path: &Path) -> Result<Image> {
    let decoded = reader(path)
        .and_then(|reader| Ok(reader.decode()?))
        .with_context(|| format!("cannot decode {}", path.display()))?
        .into_rgb8();
    let (width, height) = decoded.dimensions();
    Ok(Image { width: width as usize, height: height as usize, pixels: decoded.into_raw() })
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
    files.retain(|path| {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        path.is_file() && EXTENSIONS.contains(&extension.to_ascii_lowercase().as_str())
    });
    files.sort();
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let list = || fs::read_dir(folder)?.collect::<std::io::Result<_>>();
    list().with_context(|| format!("cannot list {}", folder.display()))
}
