//! Steps of the systems that the paper compares with, for `cargo xtask bench`.

use burn::tensor::{Device, Tensor};
use serde::Deserialize;
use slimclr_core::{
    config::{Config, Recipe},
    encoder::{Encoder, EncoderConfig},
    head::HeadKind,
    method::{Batch, MethodKind, Teacher, Trainer, from_config},
    parameter::Parameters,
    profile::profile,
};

use crate::Network;

/// A system, and what networks of other sizes have otherwise.
#[derive(Deserialize)]
pub struct System {
    method: MethodKind,
    /// Depth of the teacher, if it has one.
    teacher_depth: usize,
    prototypes: usize,
    epsilon: f64,
    small_crops: usize,
    small_size: usize,
}

impl System {
    /// Returns its options for a network. SwAV has no queue, and it alone has small crops.
    fn config(self, network: Network) -> Config {
        let Self { method, teacher_depth, prototypes, epsilon, small_crops, small_size } = self;
        let Network { backbone, depth, batch, image_size, queue, .. } = network;
        let recipe = Recipe::ALL.into_iter().find(|recipe| recipe.method() == method).expect("it has a recipe");
        let recipe = if backbone.is_for_small_images() { recipe.cifar10() } else { recipe.imagenet() };
        let (queue, small_crops) = if method == MethodKind::Swav { (0, small_crops) } else { (queue, 0) };
        let crops = Config { prototypes, sinkhorn_epsilon: epsilon, small_crops, small_size, freeze: 0.0, ..recipe };
        Config { backbone, depth, batch, image_size, queue, bn_splits: 1, teacher_depth, ..crops }
    }

    /// Prepares a step on the CPU with random weights, and counts its operations for an image.
    pub fn prepare(self, network: Network) -> (Trainer, Batch, f64) {
        let (config, device) = (self.config(network), Device::flex());
        let encoder = config.encoder().expect("the widths are sound").build().expect("there is such a network");
        let batch = Batch::noise(&config, 0, &device);
        let macs = |encoder: &Encoder, view: &Tensor<4>| profile(encoder, view.dims()[3])[0].macs;
        let of_views = |encoder: &Encoder| batch.views.iter().map(|view| macs(encoder, view)).sum::<u64>();
        // Forward and twice backward.
        let mut operations = 3 * of_views(&encoder);
        let teacher = config.needs_teacher().then(|| {
            // One that MoCo v2 has trained.
            let architecture = EncoderConfig::new(config.backbone, config.teacher_depth, HeadKind::Mocov2, config.dim);
            let encoder = architecture.build().expect("there is such a network");
            operations += of_views(&encoder);
            let parameters = Parameters::init(encoder.layout().clone(), 1, &device);
            Teacher::new(&config, &architecture, (encoder, parameters)).expect("the embeddings have one size")
        });
        if config.has_key_encoder() {
            operations += macs(&encoder, &batch.views[1]);
        }
        let method = from_config(&config, &encoder, teacher, &device);
        let query = Parameters::init(encoder.layout().clone(), config.seed, &device);
        let trainer = Trainer::with_method(&config, method, encoder, query);
        (trainer, batch, 2.0 * operations as f64)
    }
}
