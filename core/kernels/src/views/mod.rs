//! Views of images that are stored on the device: a step sends only the plans, a few words per view, and no pixels.
//!
//! The CPU uses [`Augmenter`](slimclr_data::augment::Augmenter), view by view. On GPUs a batch of views takes one
//! launch, or three with blur. Their results match the CPU's up to rounding: positions and weights have 32 bits.

mod capacity;
mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
#[cfg(test)]
mod tests;

use burn::{
    backend::{
        Backend, Dispatch, backend_extension,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{DType, Device, Int, Tensor, TensorData},
};

use slimclr_data::{
    augment::{Normalisation, ViewPlan},
    image::Image,
};

use self::capacity::image_capacity;

/// Images of one size, stored on a device.
#[derive(Debug, Clone)]
pub struct DeviceImages {
    /// `[images, height, width]`: one word per pixel, with red in the lowest byte, then green and blue.
    pixels: Tensor<3, Int>,
}

impl DeviceImages {
    /// Uploads images to a GPU. Returns `None` if they differ in size, do not fit, or the device is no GPU.
    pub fn on_gpu<'a>(images: impl Iterator<Item = &'a Image> + Clone, device: &Device) -> Option<Self> {
        let mut sizes = images.clone().map(|image| [image.width, image.height]);
        let [width, height] = sizes.next()?;
        let is_of_one_size = sizes.all(|size| size == [width, height]);
        let bytes = 4 * width as u64 * height as u64 * images.clone().count() as u64;
        (is_of_one_size && bytes <= image_capacity(device)).then(|| Self::upload(images, [width, height], device))
    }

    /// Uploads images of the given width and height.
    fn upload<'a>(images: impl Iterator<Item = &'a Image>, [width, height]: [usize; 2], device: &Device) -> Self {
        let word = |&[red, green, blue]: &[u8; 3]| i32::from_le_bytes([red, green, blue, 0]);
        let words: Vec<i32> = images.flat_map(|image| image.pixels.as_chunks().0.iter().map(word)).collect();
        let shape = [words.len() / (width * height), height, width];
        Self { pixels: Tensor::from_data(TensorData::new(words, shape), (device, DType::I32)) }
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.pixels.dims()[0]
    }

    /// Returns whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the device that stores them.
    pub fn device(&self) -> Device {
        self.pixels.device()
    }

    /// Returns width and height.
    pub fn size(&self) -> [usize; 2] {
        let [_, height, width] = self.pixels.dims();
        [width, height]
    }

    /// Makes the planned views, each of the image with the given index: normalised, `[views, 3, size, size]`.
    ///
    /// # Panics
    /// If an index is out of range, or a plan is for images of another size.
    pub fn views(&self, plans: Vec<(u32, ViewPlan)>, size: usize, normalisation: Normalisation) -> Tensor<4> {
        let [images, height, width] = self.pixels.dims();
        let fits = |(image, plan): &(u32, ViewPlan)| (*image as usize) < images && plan.crop.fits(width, height);
        assert!(plans.iter().all(fits), "plans are for these images");
        let pixels = self.pixels.clone().into_dispatch();
        Tensor::from_dispatch(Dispatch::views(pixels, plans, size, normalisation))
    }
}

/// Views as an operation of a back end.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex))]
pub trait ViewsBackend: Backend {
    /// Makes the planned views of `images`, `[images, height, width]`: `[views, 3, size, size]`.
    fn views(
        images: IntTensor<Self>,
        plans: Vec<(u32, ViewPlan)>,
        size: usize,
        normalisation: Normalisation,
    ) -> FloatTensor<Self>;
}
