//! Images that may be decoded at a fraction of their size.

use std::borrow::Cow;

use crate::image::{Image, ImageError};

/// An image, decoded whole or at a half or a quarter of its width and height.
#[derive(Debug, Clone)]
pub struct ReducedImage<'a> {
    /// Width and height of the whole image, in pixels. Crops are drawn in it.
    pub size: [usize; 2],
    /// Pixels of the whole image, in each direction, that became one of `pixels`: 1, 2 or 4.
    pub factor: usize,
    /// The decoded pixels. Where a side is no multiple of `factor`, the last of them goes beyond the whole image.
    pub pixels: Cow<'a, Image>,
}

impl ReducedImage<'_> {
    /// Checks the decoded pixels, as [`Image::check`].
    ///
    /// # Errors
    /// When a side is zero or the pixels are not `3 * width * height` bytes long.
    pub fn check(&self) -> Result<(), ImageError> {
        self.pixels.check()
    }
}

/// Takes a whole image.
impl From<Image> for ReducedImage<'_> {
    fn from(image: Image) -> Self {
        Self { size: [image.width, image.height], factor: 1, pixels: Cow::Owned(image) }
    }
}

/// Takes a whole image.
impl<'a> From<&'a Image> for ReducedImage<'a> {
    fn from(image: &'a Image) -> Self {
        Self { size: [image.width, image.height], factor: 1, pixels: Cow::Borrowed(image) }
    }
}
