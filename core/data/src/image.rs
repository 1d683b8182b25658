//! A decoded image, as the augmentations read it.

/// Why pixels do not form an [`Image`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// One side is zero.
    #[error("an image needs at least one pixel, but this one is {width} x {height}")]
    Empty {
        /// Given width, in pixels.
        width: usize,
        /// Given height, in pixels.
        height: usize,
    },
    /// The pixels do not fill the image.
    #[error("an RGB image of {width} x {height} pixels takes 3 bytes per pixel, but {actual} bytes were given")]
    Length {
        /// Given width, in pixels.
        width: usize,
        /// Given height, in pixels.
        height: usize,
        /// Bytes given.
        actual: usize,
    },
}

/// An RGB image with 8 bits per channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes: row after row, and red, green, blue within a pixel (HWC).
    pub pixels: Vec<u8>,
}

impl Image {
    /// Creates an image of `height` rows of `width` RGB pixels.
    ///
    /// # Errors
    /// When a side is zero or `pixels` is not `3 * width * height` bytes long.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, ImageError> {
        let image = Self { width, height, pixels };
        image.check()?;
        Ok(image)
    }

    /// Creates an image of `height` rows of `width` RGBA pixels, without their opacity.
    ///
    /// # Errors
    /// When a side is zero or there are not `width * height` pixels.
    pub fn from_rgba(width: usize, height: usize, pixels: &[u8]) -> Result<Self, ImageError> {
        Self::new(width, height, pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect())
    }

    /// Repeats the checks of [`Image::new`], because the fields may have changed since.
    ///
    /// # Errors
    /// When a side is zero or the pixels are not `3 * width * height` bytes long.
    pub fn check(&self) -> Result<(), ImageError> {
        let Self { width, height, ref pixels } = *self;
        if width == 0 || height == 0 {
            return Err(ImageError::Empty { width, height });
        }
        let expected = width.checked_mul(height).and_then(|n| n.checked_mul(3));
        if expected != Some(pixels.len()) {
            return Err(ImageError::Length { width, height, actual: pixels.len() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_must_fill_the_image() {
        assert!(Image::new(2, 3, vec![0; 18]).is_ok());
        assert_eq!(Image::new(0, 3, vec![]), Err(ImageError::Empty { width: 0, height: 3 }));
        assert!(matches!(Image::new(2, 3, vec![0; 17]), Err(ImageError::Length { actual: 17, .. })));
        assert!(Image::new(usize::MAX, 2, vec![0; 6]).is_err());
        let rgba = [1, 2, 3, 0, 4, 5, 6, 255];
        assert_eq!(Image::from_rgba(2, 1, &rgba).unwrap().pixels, [1, 2, 3, 4, 5, 6]);
        assert!(Image::from_rgba(1, 1, &rgba).is_err());
    }
}
