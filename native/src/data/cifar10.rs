//! Folders of CIFAR-10's binary batches.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use slimclr_core::{
    augment::Normalisation,
    data::cifar10::{CLASSES, RECORD, TEST_BATCH, TRAIN_BATCHES, record, records},
    image::Image,
    train::Split,
};

use super::{Dataset, EMBEDDED, Images};
use crate::run_folder::write_atomically;

/// Where they are fetched to unless asked otherwise.
pub const FOLDER: &str = "data/cifar10";
/// Whether `folder` looks like CIFAR-10's.
pub fn is_here(folder: &Path) -> bool {
    folder.join(TEST_BATCH).is_file() || folder.join(TRAIN_BATCHES[0]).is_file()
}

/// Reads the test batch and every training batch that is there.
///
/// # Errors
/// If a batch is missing, cut short, or has a label above 9.
pub fn read(folder: &Path) -> Result<Dataset> {
    let mut train = Vec::new();
    for batch in TRAIN_BATCHES.map(|name| folder.join(name)).iter().filter(|path| path.is_file()) {
        train.extend(read_batch(batch)?);
    }
    if train.is_empty() {
        bail!("{}: no training batch ({} …) is here", folder.display(), TRAIN_BATCHES[0]);
    }
    Ok(Dataset {
        name: "CIFAR-10".into(),
        classes: CLASSES.map(String::from).to_vec(),
        normalisation: Normalisation::CIFAR10,
        train: Images::Memory(train),
        test: Images::Memory(read_batch(&folder.join(TEST_BATCH))?),
    })
}

/// Opens CIFAR-10: a folder of its batches, or the embedded images of it.
///
/// # Errors
/// If `data` names neither, or a batch is damaged.
pub fn open(data: &str) -> Result<Dataset> {
    let folder = Path::new(data);
    if data != EMBEDDED && !is_here(folder) {
        bail!(
            "data = '{data}': there are no CIFAR-10 batches here; fetch them with slimclr data cifar10, into \
             {FOLDER}, or name their folder with --data"
        );
    }
    Dataset::open(data)
}

/// The places of `dataset`'s first `images` training images, if those of the classes take turns.
///
/// # Errors
/// If there are not so many.
pub fn balanced(dataset: &Dataset, images: usize) -> Result<Vec<usize>> {
    let there = dataset.len(Split::Train);
    if images > there {
        bail!("images = {images}: there are only {there} to train on");
    }
    let mut of_class = [0; CLASSES.len()];
    let turns = (0..there).map(|index| {
        let turn = &mut of_class[dataset.label(Split::Train, index) as usize];
        *turn += 1;
        (*turn, index)
    });
    let mut turns: Vec<(usize, usize)> = turns.collect();
    turns.sort();
    Ok(turns.into_iter().take(images).map(|(_, index)| index).collect())
}

/// Writes the training images at `places` of `dataset` and all its test images as batches into `folder`, unless there
/// are some.
///
/// # Errors
/// If they cannot be written.
pub fn write(dataset: &Dataset, places: &[usize], folder: &Path) -> Result<()> {
    // The last to be written.
    if folder.join(TEST_BATCH).is_file() {
        return Ok(());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let write = |name: &str, split, places: &[usize]| {
        let mut batch = Vec::with_capacity(places.len() * RECORD);
        for place in places {
            batch.extend(record(dataset.label(split, *place) as u8, &dataset.image(split, *place)?.pixels));
        }
        write_atomically(&folder.join(name), &batch)
    };
    write(TRAIN_BATCHES[0], Split::Train, places)?;
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
    fn batches_are_found_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..3 * SIDE * SIDE).map(|i| (i * 7 % 251) as u8).collect();
        fs::write(folder.path().join(TRAIN_BATCHES[0]), record(3, &pixels)).unwrap();
        fs::write(folder.path().join(TEST_BATCH), record(9, &pixels)).unwrap();
        let dataset = read(folder.path()).unwrap();
        let Images::Memory(train) = &dataset.train else { panic!("CIFAR-10 is kept in memory") };
        assert_eq!(train, &[(Image { width: SIDE, height: SIDE, pixels: pixels.clone() }, 3)]);

        fs::write(folder.path().join(TEST_BATCH), &record(9, &pixels)[1..]).unwrap();
        let error = format!("{:#}", read(folder.path()).err().unwrap());
        assert!(error.contains(TEST_BATCH) && error.contains("cut short"), "{error}");
    }

    #[test]
    fn a_subset_has_of_each_class_alike() {
        let folder = tempfile::tempdir().unwrap();
        // Two of the first class come before the others; the last image is of the first class too.
        let labels = [0, 0, 1, 2, 1, 2, 0];
        let pixels = |number: usize| vec![number as u8; 3 * SIDE * SIDE];
        let batch: Vec<u8> = (0..).zip(labels).flat_map(|(number, label)| record(label, &pixels(number))).collect();
        fs::write(folder.path().join(TRAIN_BATCHES[0]), batch).unwrap();
        fs::write(folder.path().join(TEST_BATCH), record(9, &pixels(9))).unwrap();
        let whole = read(folder.path()).unwrap();
        let chosen = balanced(&whole, 4).unwrap();
        assert_eq!(chosen, [0, 2, 3, 1]);
        assert!(balanced(&whole, 8).unwrap_err().to_string().contains("there are only 7"));

        let subset = folder.path().join("subset");
        write(&whole, &chosen, &subset).unwrap();
        let read = open(subset.to_str().unwrap()).unwrap();
        assert_eq!([read.len(Split::Train), read.len(Split::Test)], [4, 1]);
        for (place, number) in chosen.into_iter().enumerate() {
            assert_eq!(read.label(Split::Train, place), u32::from(labels[number]));
            assert_eq!(read.image(Split::Train, place).unwrap().pixels, pixels(number));
        }
        let error = open(folder.path().join("none").to_str().unwrap()).err().unwrap().to_string();
        assert!(error.contains("slimclr data cifar10"), "{error}");
    }
}
