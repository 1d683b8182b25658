//! Setup of benchmarks, for `cargo bench` and for `cargo xtask bench`.

use std::rc::Rc;

use burn::tensor::{Device, Distribution, Tensor};
use slimclr_core::{
    augment::{Augmenter, Normalisation},
    config::Config,
    data::{
        batch::HostViews,
        reduced::ReducedImage,
        sampler::{Finish, Sampler},
    },
    eval::features::Features,
    method::{Batch, MethodKind, StepPlan, Trainer},
};

/// A step of all widths.
pub const PLAN: StepPlan = StepPlan { rate: 0.06, key_momentum: 0.99, ..StepPlan::trial(0.0) };

/// Creates a trainer on the CPU, with a batch.
pub fn trainer(config: &Config) -> (Trainer, Batch) {
    let device = Device::flex();
    let encoder = config.encoder().expect("the widths are sound").build().expect("there is such a network");
    (Trainer::new(config, encoder, &device), Batch::noise(config, 0, &device))
}

/// Makes pairs of MoCo v2 views of `size` pixels, each pair with another number.
pub struct Views {
    sampler: Sampler,
    augmenter: Augmenter,
    views: Vec<HostViews>,
    number: u64,
}

impl Views {
    /// Creates a maker of views that are finished on the host or on the device.
    pub fn new(normalisation: Normalisation, size: usize, finish: Finish) -> Self {
        let config = Config { method: MethodKind::Mocov2, image_size: size, batch: 1, ..Config::mini() };
        let sampler = Sampler::new(&config, normalisation);
        let views = sampler.buffers(finish);
        Self { sampler, augmenter: Augmenter::new(), views, number: 0 }
    }

    /// Returns by how much an image of this width and height may be reduced for its next views.
    pub fn reduction(&mut self, size: [usize; 2]) -> usize {
        let source = self.sampler.sources((self.number, &[0]), &mut self.views).remove(0);
        self.sampler.reduction(&source, size)
    }

    /// Makes the host's part of two views of `image`.
    pub fn make(&mut self, image: &ReducedImage) {
        let source = self.sampler.sources((self.number, &[0]), &mut self.views).remove(0);
        self.sampler.view(&mut self.augmenter, image, source).expect("the image is sound");
        self.number += 1;
    }
}

/// Draws features of images in ten classes, `[images, length]`.
pub fn features(images: usize, length: usize) -> Features {
    Features {
        values: Rc::new(Tensor::<2>::random([images, length], Distribution::Normal(0.0, 1.0), &Device::flex())),
        labels: (0..images as u32).map(|image| image % 10).collect(),
        indices: (0..images).collect(),
    }
}
