//! Views made on the device, of images that are stored there (a step then sends only the plans, a few words per view, and
//! no pixels) or of views that were cropped on the host and arrive as bytes.
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
    augment::{
        Normalisation, ViewPlan,
        plan::{Crop, Effects},
    },
    batch::{CroppedViews, PlannedViews},
    image::Image,
};

pub use self::capacity::finish_for;
use self::capacity::image_capacity;

/// Images of one size, stored on a device.
#[derive(Debug, Clone)]
pub struct DeviceImages {
    /// RGB pixels, `[images, height, width, 3]`: four bytes in each value, the first of them the lowest.
    pixels: Tensor<1, Int>,
    /// Number of images.
    len: usize,
    /// Width and height.
    size: [usize; 2],
}

impl DeviceImages {
    /// Uploads images to a GPU. Returns `None` if they differ in size, do not fit, or the device is no GPU.
    pub fn on_gpu<'a>(images: impl Iterator<Item = &'a Image> + Clone, device: &Device) -> Option<Self> {
        let mut sizes = images.clone().map(|image| [image.width, image.height]);
        let [width, height] = sizes.next()?;
        let is_of_one_size = sizes.all(|size| size == [width, height]);
        let bytes = 3 * width as u64 * height as u64 * images.clone().count() as u64;
        (is_of_one_size && bytes <= image_capacity(device)).then(|| Self::upload(images, [width, height], device))
    }

    /// Uploads images of the given width and height.
    fn upload<'a>(images: impl Iterator<Item = &'a Image>, size: [usize; 2], device: &Device) -> Self {
        Self::from_bytes(images.flat_map(|image| image.pixels.iter().copied()).collect(), size, device)
    }

    /// Uploads the pixels of images, `[images, height, width, 3]`.
    fn from_bytes(mut bytes: Vec<u8>, size: [usize; 2], device: &Device) -> Self {
        let len = bytes.len() / (3 * size[0] * size[1]);
        let words = bytes.len().div_ceil(4);
        bytes.resize(4 * words, 0);
        let data = TensorData::from_bytes_vec(bytes, [words], DType::I32);
        Self { pixels: Tensor::from_data(data, (device, DType::I32)), len, size }
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.len
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
        self.size
    }

    /// Makes the planned views: normalised, `[views, 3, size, size]`.
    ///
    /// # Panics
    /// If the index of an image is out of range, or a plan is for images of another size.
    pub fn views(&self, PlannedViews { plans, size, normalisation }: PlannedViews) -> Tensor<4> {
        let [width, height] = self.size;
        let fits = |(image, plan): &(u32, ViewPlan)| (*image as usize) < self.len && plan.crop.fits(width, height);
        assert!(plans.iter().all(fits), "plans are for these images");
        let pixels = self.pixels.clone().into_dispatch();
        Tensor::from_dispatch(Dispatch::views(pixels, self.size, plans, size, normalisation))
    }
}

/// Finishes views that were cropped on the host: normalised, `[views, 3, size, size]`.
///
/// # Panics
/// If there are not as many views as effects.
pub fn finish(views: CroppedViews, device: &Device) -> Tensor<4> {
    let CroppedViews { pixels, size, effects, normalisation } = views;
    let crop = Crop { left: 0, top: 0, width: size, height: size };
    let plan = |effects: Effects| ViewPlan { crop, mirrored: false, effects };
    let plans = (0..).zip(effects.into_iter().map(plan)).collect();
    DeviceImages::from_bytes(pixels, [size; 2], device).views(PlannedViews { plans, size, normalisation })
}

/// Views as an operation of a back end.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex))]
pub trait ViewsBackend: Backend {
    /// Makes the planned views of `images`, `[images, height, width, 3]` bytes in words, of which
    /// `[width, height] = image_size`: `[views, 3, size, size]`.
    fn views(
        images: IntTensor<Self>,
        image_size: [usize; 2],
        plans: Vec<(u32, ViewPlan)>,
        size: usize,
        normalisation: Normalisation,
    ) -> FloatTensor<Self>;
}
