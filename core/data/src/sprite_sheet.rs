//! Sheets of small images: many CIFAR-10 images as the tiles of one lossless picture.

use ::image::RgbImage;

use super::{DataError, cifar10, decode::DecodeError};
use crate::image::Image;

const TILES_PER_ROW: u32 = 50;
const SIDE: u32 = cifar10::SIDE as u32;

/// Returns the tiles of a sheet, 50 per row; tile `i` is of class `i % 10`.
///
/// # Errors
/// If it is not an intact picture.
pub fn tiles(sheet: &[u8]) -> Result<Vec<(Image, u32)>, DataError> {
    let sheet: RgbImage = ::image::load_from_memory(sheet).map_err(DecodeError::from)?.into_rgb8();
    let tile = |tile: u32| {
        let [left, top] = [tile % TILES_PER_ROW, tile / TILES_PER_ROW].map(|place| place * SIDE);
        let pixels = ::image::imageops::crop_imm(&sheet, left, top, SIDE, SIDE).to_image().into_raw();
        (Image { width: SIDE as usize, height: SIDE as usize, pixels }, tile % cifar10::CLASSES.len() as u32)
    };
    Ok((0..sheet.height() / SIDE * (sheet.width() / SIDE).min(TILES_PER_ROW)).map(tile).collect())
}
