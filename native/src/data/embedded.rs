//! The embedded data set: 3,050 training and 1,500 test images of CIFAR-10, class-balanced.

use std::path::Path;

use slimclr_core::{
    augment::Normalisation,
    data::{cifar10::CLASSES, sprite_sheet::tiles},
    image::Image,
};

use super::dataset::{Dataset, Images};

/// Sprite sheets of 32x32 tiles, 50 per row; tile `i` is of class `i % 10`. See `assets/README.md`.
const TRAIN: &[u8] = include_bytes!("../../assets/cifar10-train.webp");
const TEST: &[u8] = include_bytes!("../../assets/cifar10-test.webp");

/// Decodes the embedded images. They are stored losslessly, so their pixels equal CIFAR-10's.
pub fn dataset() -> Dataset {
    let classes = CLASSES.map(String::from).to_vec();
    let images = [memory(TRAIN), memory(TEST)];
    Dataset::new("a CIFAR-10 subset".into(), Path::new(""), (classes, Normalisation::CIFAR10), images)
}

fn memory(sheet: &[u8]) -> Images {
    Images::Memory(embedded(sheet))
}

fn embedded(sheet: &[u8]) -> Vec<(Image, u32)> {
    tiles(sheet).expect("the embedded sheets are valid WebP")
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn pixels_equal_cifar10s() {
        for (sheet, count, expected) in [
            (TRAIN, 3050, "675553751edaa6eacf9f42f4f4ee8f0f7c9e61640ffe3d28ea52832e50d4496a"),
            (TEST, 1500, "a334f9860e828f6b9a7cfcf0c63e35ecbad3ff3aebecb74e56ac570818f38bca"),
        ] {
            let tiles = embedded(sheet);
            assert_eq!(tiles.len(), count);
            let mut hash = Sha256::new();
            tiles.iter().for_each(|(image, _)| hash.update(&image.pixels));
            assert_eq!(HEXLOWER.encode(&hash.finalize()), expected);
        }
    }
}
