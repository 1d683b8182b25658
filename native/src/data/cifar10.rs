//! CIFAR-10 as a folder of its binary batches.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use slimclr_core::{
    augment::Normalisation,
    data::cifar10::{CLASSES, RECORD, TEST_BATCH, TRAIN_BATCHES, record, records},
    image::Image,
    train::Split,
};

use super::dataset::{Dataset, Images};
use crate::files::{create_folder, write_atomically};

/// The default folder.
pub const FOLDER: &str = "data/cifar10";

/// Returns whether `folder` contains CIFAR-10 batches.
pub fn has_batches(folder: &Path) -> bool {
    folder.join(TEST_BATCH).is_file() || folder.join(TRAIN_BATCHES[0]).is_file()
}

/// Reads the test batch and the existing training batches.
///
/// # Errors
/// If there is no test or no training batch, or one is truncated or has a label above 9.
pub fn read(folder: &Path) -> Result<Dataset> {
    let mut train = Vec::new();
    for batch in TRAIN_BATCHES.map(|name| folder.join(name)).iter().filter(|path| path.is_file()) {
        train.extend(read_batch(batch)?);
    }
    if train.is_empty() {
        bail!(
            "{}: there is no training batch such as {}; fetch them with slimclr data cifar10",
            folder.display(),
            TRAIN_BATCHES[0]
        );
    }
    let classes = CLASSES.map(String::from).to_vec();
    let images = [train, read_batch(&folder.join(TEST_BATCH))?].map(Images::Memory);
    Ok(Dataset::new("CIFAR-10".into(), folder, (classes, Normalisation::CIFAR10), images))
}

/// Returns the indices of a class-balanced subset of `images` training images: the first of each class, then the second
/// of each, and so on.
///
/// # Errors
/// If `dataset` has fewer training images.
pub fn balanced(dataset: &Dataset, images: usize) -> Result<Vec<usize>> {
    let available = dataset.len(Split::Train);
    if images > available {
        bail!("--images {images} is more than the {available} training images: use at most {available}");
    }
    let mut class_sizes = [0; CLASSES.len()];
    let ranked = (0..available).map(|index| {
        let rank_in_class = &mut class_sizes[dataset.label(Split::Train, index) as usize];
        *rank_in_class += 1;
        (*rank_in_class, index)
    });
    let mut ranked: Vec<(usize, usize)> = ranked.collect();
    ranked.sort();
    Ok(ranked.into_iter().take(images).map(|(_, index)| index).collect())
}

/// Writes the training images of `dataset` at `indices` and all its test images as batches into `folder`, unless it has
/// a test batch.
///
/// # Errors
/// If they cannot be written.
pub fn write(dataset: &Dataset, indices: &[usize], folder: &Path) -> Result<()> {
    // The test batch is written last, so the folder is complete if it exists.
    if folder.join(TEST_BATCH).is_file() {
        return Ok(());
    }
    create_folder(folder)?;
    let write = |name: &str, split, indices: &[usize]| {
        let mut batch = Vec::with_capacity(indices.len() * RECORD);
        for index in indices {
            batch.extend(record(dataset.label(split, *index) as u8, &dataset.image(split, *index)?.pixels));
        }
        write_atomically(&folder.join(name), &batch)
    };
    write(TRAIN_BATCHES[0], Split::Train, indices)?;
    write(TEST_BATCH, Split::Test, &(0..dataset.len(Split::Test)).collect::<Vec<_>>())
}

fn read_batch(path: &Path) -> Result<Vec<(Image, u32)>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    records(&bytes).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use slimclr_core::data::cifar10::SIDE;

    use super::*;

    #[test]
    fn batches_are_read_and_a_truncated_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..3 * SIDE * SIDE).map(|i| (i * 7 % 251) as u8).collect();
        fs::write(folder.path().join(TRAIN_BATCHES[0]), record(3, &pixels)).unwrap();
        fs::write(folder.path().join(TEST_BATCH), record(9, &pixels)).unwrap();
        let dataset = read(folder.path()).unwrap();
        let Images::Memory(train) = dataset.split(Split::Train) else { panic!("CIFAR-10 is held in memory") };
        assert_eq!(train, &[(Image { width: SIDE, height: SIDE, pixels: pixels.clone() }, 3)]);

        fs::write(folder.path().join(TEST_BATCH), &record(9, &pixels)[1..]).unwrap();
        let error = format!("{:#}", read(folder.path()).err().unwrap());
        assert!(error.contains(TEST_BATCH) && error.contains("cut short"), "{error}");
    }

    #[test]
    fn a_subset_is_class_balanced() {
        let folder = tempfile::tempdir().unwrap();
        // The first class has three images, the others two.
        let labels = [0, 0, 1, 2, 1, 2, 0];
        let pixels = |number: usize| vec![number as u8; 3 * SIDE * SIDE];
        let batch: Vec<u8> = (0..).zip(labels).flat_map(|(number, label)| record(label, &pixels(number))).collect();
        fs::write(folder.path().join(TRAIN_BATCHES[0]), batch).unwrap();
        fs::write(folder.path().join(TEST_BATCH), record(9, &pixels(9))).unwrap();
        let whole = read(folder.path()).unwrap();
        let chosen = balanced(&whole, 4).unwrap();
        assert_eq!(chosen, [0, 2, 3, 1]);
        assert!(balanced(&whole, 8).unwrap_err().to_string().contains("more than the 7 training images"));

        let subset = folder.path().join("subset");
        write(&whole, &chosen, &subset).unwrap();
        let read = read(&subset).unwrap();
        assert_eq!([read.len(Split::Train), read.len(Split::Test)], [4, 1]);
        for (index, number) in chosen.into_iter().enumerate() {
            assert_eq!(read.label(Split::Train, index), u32::from(labels[number]));
            assert_eq!(read.image(Split::Train, index).unwrap().pixels, pixels(number));
        }
    }
}
