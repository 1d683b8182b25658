//! Decodes JPEG, PNG and WebP files, recognised by content, not by name.

use std::{
    borrow::Cow,
    io::{BufRead, Cursor, Seek},
};

use ::image::ImageReader;

use super::DataError;
use crate::{dct_scaling, image::Image, reduced::ReducedImage};

/// Shortest side of a usable image, in pixels.
const SMALLEST: u32 = 8;

/// Decodes an image file.
///
/// # Errors
/// If it is not an intact image.
pub fn decode(file: impl BufRead + Seek) -> Result<Image, DataError> {
    let decoded = ImageReader::new(file).with_guessed_format()?.decode()?.into_rgb8();
    let (width, height) = decoded.dimensions();
    Ok(Image { width: width as usize, height: height as usize, pixels: decoded.into_raw() })
}

/// Decodes an image file for views. `reduction` returns by how much an image of this width and height may be reduced (1, 2
/// or 4); a JPEG file is then decoded at that fraction of its size, other files whole.
///
/// # Errors
/// If it is not an intact image.
pub fn decode_reduced(
    file: &[u8],
    reduction: impl FnOnce([usize; 2]) -> usize,
) -> Result<ReducedImage<'static>, DataError> {
    let (width, height) = ImageReader::new(Cursor::new(file)).with_guessed_format()?.into_dimensions()?;
    let size = [width as usize, height as usize];
    let factor = reduction(size);
    let reduced = (factor > 1).then(|| dct_scaling::decode(file, factor)).flatten();
    match reduced {
        Some(pixels) => Ok(ReducedImage { size, factor, pixels: Cow::Owned(pixels) }),
        None => Ok(decode(Cursor::new(file))?.into()),
    }
}

/// Returns whether a file's header is that of an image of usable size.
pub fn has_usable_header(file: impl BufRead + Seek) -> bool {
    let size = || Ok::<_, DataError>(ImageReader::new(file).with_guessed_format()?.into_dimensions()?);
    size().is_ok_and(|(width, height)| width.min(height) >= SMALLEST)
}
