//! CIFAR-10's binary batches (Krizhevsky 2009): a label byte, then 1,024 bytes each of red, green and blue.

use super::DataError;
use crate::image::Image;

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

/// Reads the images of a batch, with their classes.
///
/// # Errors
/// If it is empty or cut short, or has a label above 9.
pub fn records(batch: &[u8]) -> Result<Vec<(Image, u32)>, DataError> {
    if batch.is_empty() || !batch.len().is_multiple_of(RECORD) {
        return Err(DataError::CutShort(batch.len()));
    }
    let image = |(place, record): (usize, &[u8])| {
        let (label, planes) = (u32::from(record[0]), &record[1..]);
        if label as usize >= CLASSES.len() {
            return Err(DataError::Label { place, label });
        }
        let pixels = (0..PLANE).flat_map(|pixel| [0, 1, 2].map(|colour| planes[colour * PLANE + pixel])).collect();
        Ok((Image { width: SIDE, height: SIDE, pixels }, label))
    };
    batch.chunks_exact(RECORD).enumerate().map(image).collect()
}

/// Returns the record of an image whose pixels are interleaved red, green, blue.
pub fn record(label: u8, pixels: &[u8]) -> Vec<u8> {
    let planes = (0..3).flat_map(|colour| pixels.iter().skip(colour).step_by(3).copied());
    std::iter::once(label).chain(planes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip_and_damage_is_an_error() {
        let pixels: Vec<u8> = (0..3 * PLANE).map(|i| (i * 7 % 251) as u8).collect();
        let batch = [record(3, &pixels), record(9, &pixels)].concat();
        let image = Image { width: SIDE, height: SIDE, pixels: pixels.clone() };
        assert_eq!(records(&batch).unwrap(), [(image.clone(), 3), (image, 9)]);
        assert!(records(&batch[1..]).unwrap_err().to_string().contains("cut short"));
        assert!(records(&[]).is_err());
        let mut wrong = batch;
        wrong[RECORD] = 10;
        assert!(records(&wrong).unwrap_err().to_string().contains("image 1 has label 10"));
    }
}
