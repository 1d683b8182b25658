//! CIFAR-10's binary batches (Krizhevsky 2009): a label byte, then 1,024 bytes each of red, green and blue.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use slimclr_core::{augment::Normalisation, image::Image};

use super::{Dataset, Images};

/// Side of the images, in pixels.
pub const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
/// Bytes of one image with its label.
pub const RECORD: usize = 1 + 3 * PLANE;
/// The classes, in the order of their labels.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// Files of training images.
pub const TRAIN_BATCHES: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
/// The file of test images.
pub const TEST_BATCH: &str = "test_batch.bin";

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
        train.extend(records(batch)?);
    }
    if train.is_empty() {
        bail!("{}: no training batch ({} …) is here", folder.display(), TRAIN_BATCHES[0]);
    }
    Ok(Dataset {
        name: "CIFAR-10".into(),
        classes: CLASSES.map(String::from).to_vec(),
        normalisation: Normalisation::CIFAR10,
        train: Images::Memory(train),
        test: Images::Memory(records(&folder.join(TEST_BATCH))?),
    })
}

fn records(path: &Path) -> Result<Vec<(Image, u32)>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.is_empty() || bytes.len() % RECORD != 0 {
        bail!(
            "{}: {} bytes are no whole number of {RECORD}-byte images: the file is cut short; fetch it again",
            path.display(),
            bytes.len()
        );
    }
    bytes
        .chunks_exact(RECORD)
        .enumerate()
        .map(|(place, record)| {
            let (label, planes) = (u32::from(record[0]), &record[1..]);
            if label as usize >= CLASSES.len() {
                bail!("{}: image {place} has label {label}, but there are only {}", path.display(), CLASSES.len());
            }
            let pixels = (0..PLANE).flat_map(|pixel| [0, 1, 2].map(|colour| planes[colour * PLANE + pixel])).collect();
            Ok((Image { width: SIDE, height: SIDE, pixels }, label))
        })
        .collect()
}

/// The record of an image whose pixels are interleaved red, green, blue.
pub fn record(label: u8, pixels: &[u8]) -> Vec<u8> {
    let planes = (0..3).flat_map(|colour| pixels.iter().skip(colour).step_by(3).copied());
    std::iter::once(label).chain(planes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..3 * PLANE).map(|i| (i * 7 % 251) as u8).collect();
        fs::write(folder.path().join(TRAIN_BATCHES[0]), record(3, &pixels)).unwrap();
        fs::write(folder.path().join(TEST_BATCH), record(9, &pixels)).unwrap();
        let dataset = read(folder.path()).unwrap();
        let Images::Memory(train) = &dataset.train else { panic!("CIFAR-10 is kept in memory") };
        assert_eq!(train, &[(Image { width: SIDE, height: SIDE, pixels: pixels.clone() }, 3)]);

        fs::write(folder.path().join(TEST_BATCH), &record(9, &pixels)[1..]).unwrap();
        assert!(read(folder.path()).err().unwrap().to_string().contains("cut short"));
        fs::write(folder.path().join(TEST_BATCH), record(10, &pixels)).unwrap();
        assert!(read(folder.path()).err().unwrap().to_string().contains("label 10"));
    }
}
