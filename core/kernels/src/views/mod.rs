//! Views of images that lie on the device: a step sends it the drawn plans, a few words a view, and no pixels.
//!
//! The plain form is the CPU's [`Augmenter`](slimclr_data::augment::Augmenter), view by view. On GPUs one launch makes
//! a batch of views; three do where views are blurred. They are the CPU's within rounding: positions and weights are in
//! 32 bits there.

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

/// Images of one size on a device.
#[derive(Debug, Clone)]
pub struct DeviceImages {
    /// `[images, height, width]`: a pixel a word, its red the lowest byte, its blue the third.
    pixels: Tensor<3, Int>,
}

impl DeviceImages {
    /// Uploads images to a GPU, if they are of one size and have room there.
    pub fn on_gpu<'a>(images: impl Iterator<Item = &'a Image> + Clone, device: &Device) -> Option<Self> {
        let mut sizes = images.clone().map(|image| [image.width, image.height]);
        let [width, height] = sizes.next()?;
        let is_of_one_size = sizes.all(|size| size == [width, height]);
        let bytes = 4 * width as u64 * height as u64 * images.clone().count() as u64;
        (is_of_one_size && bytes <= image_capacity(device)).then(|| Self::upload(images, [width, height], device))
    }

    /// Uploads images of that width and height.
    fn upload<'a>(images: impl Iterator<Item = &'a Image>, [width, height]: [usize; 2], device: &Device) -> Self {
        let word = |&[red, green, blue]: &[u8; 3]| i32::from_le_bytes([red, green, blue, 0]);
        let words: Vec<i32> = images.flat_map(|image| image.pixels.as_chunks().0.iter().map(word)).collect();
        let shape = [words.len() / (width * height), height, width];
        Self { pixels: Tensor::from_data(TensorData::new(words, shape), (device, DType::I32)) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pixels.dims()[0]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where they are.
    pub fn device(&self) -> Device {
        self.pixels.device()
    }

    /// Width and height.
    pub fn size(&self) -> [usize; 2] {
        let [_, height, width] = self.pixels.dims();
        [width, height]
    }

    /// The views that are planned, each of the image at its place: normalised, `[views, 3, size, size]`.
    ///
    /// # Panics
    /// If there is no such image, or a plan is of images of another size.
    pub fn views(&self, plans: Vec<(u32, ViewPlan)>, size: usize, normalisation: Normalisation) -> Tensor<4> {
        let [images, height, width] = self.pixels.dims();
        let fits = |(image, plan): &(u32, ViewPlan)| (*image as usize) < images && plan.crop.fits(width, height);
        assert!(plans.iter().all(fits), "views are of the images that are there");
        let pixels = self.pixels.clone().into_dispatch();
        Tensor::from_dispatch(Dispatch::views(pixels, plans, size, normalisation))
    }
}

/// Making views as an operation of a back end.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex))]
pub trait ViewsBackend: Backend {
    /// The views of `images`, `[images, height, width]`, that are planned, `[views, 3, size, size]`.
    fn views(
        images: IntTensor<Self>,
        plans: Vec<(u32, ViewPlan)>,
        size: usize,
        normalisation: Normalisation,
    ) -> FloatTensor<Self>;
}
