//! Setup of benchmarks, for `cargo bench` and for `cargo xtask bench`.

use std::rc::Rc;

use burn::tensor::{Device, Distribution, Tensor};
use slimclr_core::{
    augment::{AugmentConfig, Augmenter, Normalisation, view_rng},
    config::Config,
    eval::features::Features,
    image::Image,
    method::{Batch, StepPlan, Trainer},
};

/// A step of all widths.
pub const PLAN: StepPlan =
    StepPlan { trains_subnetworks: true, rate: 0.06, key_momentum: 0.99, keeps_width_gradients: false };

/// Creates a trainer on the CPU, with a batch.
pub fn trainer(config: &Config) -> (Trainer, Batch) {
    let device = Device::flex();
    let encoder = config.encoder().expect("the widths are sound").build().expect("there is such a network");
    (Trainer::new(config, encoder, &device), Batch::noise(config, 0, &device))
}

/// Makes MoCo v2 views of `size` pixels, each with another number.
pub struct Views {
    recipe: AugmentConfig,
    size: usize,
    augmenter: Augmenter,
    view: Vec<f32>,
    number: u64,
}

impl Views {
    /// Creates a maker of views.
    pub fn new(normalisation: Normalisation, size: usize) -> Self {
        let recipe = AugmentConfig::moco_v2(normalisation, size);
        Self { recipe, size, augmenter: Augmenter::new(), view: vec![0.0; 3 * size * size], number: 0 }
    }

    /// Makes a view of `image`.
    pub fn make(&mut self, image: &Image) {
        self.number += 1;
        let mut random = view_rng(0, 0, self.number, 0);
        self.augmenter.view(image, &self.recipe, self.size, &mut random, &mut self.view).expect("the image is sound");
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
