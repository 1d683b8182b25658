//! A training loop of your own: SlimCLR on the CIFAR-10 images that come with the program.
//!
//! `cargo run --release --package slimclr-core --example train_loop`

use std::error::Error;

use burn::tensor::{Device, Tensor};
use slimclr_core::{
    augment::{Augmenter, Normalisation},
    config::Config,
    data::{sampler::Sampler, sprite_sheet::tiles},
    method::{Batch, Trainer},
};

pub fn main() -> Result<(), Box<dyn Error>> {
    let images = tiles(include_bytes!("../native/assets/cifar10-train.webp"))?;
    let config = Config { epochs: 0.4, multiplier: 1.0, ..Config::mini() };
    let schedule = config.schedule(images.len())?;
    let sampler = Sampler::new(&config, Normalisation::CIFAR10);
    let device = Device::flex();
    let mut trainer = Trainer::new(&config, config.encoder()?.build()?, &device);
    let mut augmenter = Augmenter::new();
    for step in 0..schedule.steps {
        let views = sampler.views(&mut augmenter, &images, step)?;
        let batch = Batch::from_host(views, &device);
        let outcome = trainer.step(batch, schedule.plan(step));
        let losses: Vec<f32> = Tensor::<1>::cat(outcome.losses.weighted, 0).into_data().iter().collect();
        println!("step {step}: losses of the trained widths {losses:.2?}");
        assert!(losses.iter().all(|loss| loss.is_finite()), "training has diverged");
    }
    Ok(())
}
