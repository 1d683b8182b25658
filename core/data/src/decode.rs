//! Decodes JPEG, PNG and WebP files, recognised by content, not by name.

use std::io::{BufRead, Seek};

use ::image::ImageReader;

use super::DataError;
use crate::image::Image;

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

/// Returns whether a file's header is that of an image of usable size.
pub fn has_usable_header(file: impl BufRead + Seek) -> bool {
    let size = || Ok::<_, DataError>(ImageReader::new(file).with_guessed_format()?.into_dimensions()?);
    size().is_ok_and(|(width, height)| width.min(height) >= SMALLEST)
}
