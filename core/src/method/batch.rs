//! Batches on the device.

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

use crate::{
    augment::views,
    config::Config,
    data::{
        batch::{HostBatch, HostViews},
        sampler::Sampler,
    },
    kernel::views::{DeviceImages, finish},
    normalisation::Normalisation,
};

/// The images of a training step.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Views of the same images, `[n, 3, height, width]` each; how many there are, and of which size, depends on the
    /// method ([`views`](crate::augment::views)).
    pub views: Vec<Tensor<4>>,
    /// The images' classes, `[n]`; used by supervised methods only.
    pub labels: Tensor<1, Int>,
    /// The teacher's features of the images, `[n, F]`, if they were computed before training (CompRess).
    pub teacher_features: Option<Tensor<2>>,
}

impl Batch {
    /// Draws a batch of normal noise, all of the first class, to time or test a step.
    pub fn noise(config: &Config, seed: u64, device: &Device) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut view = |size| {
            let shape = [config.batch, 3, size, size];
            let pixels: Vec<f32> = (0..shape.iter().product()).map(|_| random.sample(StandardNormal)).collect();
            Tensor::from_data(TensorData::new(pixels, shape), device)
        };
        let recipes = views(config, Normalisation::CIFAR10);
        Self {
            views: recipes.into_iter().map(|recipe| view(recipe.size)).collect(),
            labels: Tensor::zeros([config.batch], device),
            teacher_features: None,
        }
    }

    /// Copies a batch to a device, and finishes there the views that are only cropped.
    pub fn from_host(batch: HostBatch, device: &Device) -> Self {
        let images = batch.labels.len();
        let on_device = |views| match views {
            HostViews::Finished { pixels, size } => {
                Tensor::from_data(TensorData::new(pixels, [images, 3, size, size]), device)
            }
            HostViews::Cropped(views) => finish(views, device),
        };
        Self {
            views: batch.views.into_iter().map(on_device).collect(),
            labels: Tensor::from_data(TensorData::new(batch.labels, [images]), device),
            teacher_features: None,
        }
    }

    /// Makes the batch of `step` on the device that holds the training images. `label` returns the class of an image.
    pub fn on_device(sampler: &Sampler, images: &DeviceImages, step: u64, label: impl Fn(usize) -> u32) -> Self {
        let (epoch, batch) = sampler.batch(step, images.len());
        let planned = sampler.plans((epoch, &batch), images.size()).into_iter();
        let labels: Vec<u32> = batch.iter().map(|index| label(*index as usize)).collect();
        Self {
            views: planned.map(|views| images.views(views)).collect(),
            labels: Tensor::from_data(TensorData::new(labels, [batch.len()]), &images.device()),
            teacher_features: None,
        }
    }

    /// Returns the number of images.
    pub(crate) fn images(&self) -> usize {
        self.labels.dims()[0]
    }

    /// Splits the batch into `count` equal parts, in order.
    pub(crate) fn parts(&self, count: usize) -> impl Iterator<Item = Batch> {
        let images = self.images() / count;
        (0..count).map(move |part| self.narrow(part * images, images))
    }

    /// Returns a batch of `images` images, from the one at `start`.
    pub(crate) fn narrow(&self, start: usize, images: usize) -> Batch {
        Batch {
            views: self.views.iter().map(|view| view.clone().narrow(0, start, images)).collect(),
            labels: self.labels.clone().narrow(0, start, images),
            teacher_features: self.teacher_features.clone().map(|features| features.narrow(0, start, images)),
        }
    }
}
