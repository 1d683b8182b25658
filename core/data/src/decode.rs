//! JPEG, PNG and WebP files; by content, whatever their names say.

use std::io::{BufRead, Seek};

use ::image::ImageReader;

use super::DataError;
use crate::image::Image;

/// Images with a shorter side carry nothing to learn from.
const SMALLEST: u32 = 8;

/// Decodes an image file.
///
/// # Errors
/// If it is no intact image.
pub fn decode(file: impl BufRead + Seek) -> Result<Image, DataError> {
    let decoded = ImageReader::new(file).with_guessed_format()?.decode()?.into_rgb8();
    let (width, height) = decoded.dimensions();
    Ok(Image { width: width as usize, height: height as usize, pixels: decoded.into_raw() })
}

/// Whether a file begins as one of an image that is large enough to learn from.
pub fn has_usable_header(file: impl BufRead + Seek) -> bool {
    let size = || Ok::<_, DataError>(ImageReader::new(file).with_guessed_format()?.into_dimensions()?);
    size().is_ok_and(|(width, height)| width.min(height) >= SMALLEST)
}
