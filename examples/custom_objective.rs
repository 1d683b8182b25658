//! A method of your own: the spectral contrastive loss (HaoChen et al. 2021). Slow start, distillation, reweighting and
//! gradient surgery work with it.
//!
//! `cargo run --release --package slimclr-core --example custom_objective`

use std::error::Error;

use burn::tensor::{Device, Int, Tensor};
use slimclr_core::{
    config::Config,
    loss::{
        Loss,
        contrastive::{simclr_logits, simclr_targets},
        distill::Output,
        normalize,
    },
    method::{Batch, Method, PretextTask, StepContext, Trainer},
    parameter::Parameters,
};

#[derive(Debug, Clone)]
struct SpectralContrastive;

impl Method for SpectralContrastive {
    fn tasks(&mut self, Batch { views, .. }: Batch, _: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let targets = simclr_targets(views[0].dims()[0], &views[0].device());
        vec![Box::new(TwoViews { views, targets })]
    }
}

#[derive(Debug)]
struct TwoViews {
    views: Vec<Tensor<4>>,
    targets: Tensor<1, Int>,
}

impl PretextTask for TwoViews {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    fn targets(&self) -> Option<&Tensor<1, Int>> {
        Some(&self.targets)
    }

    fn output(&self, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        Output { logits: simclr_logits(embeddings.clone()), embeddings }
    }

    fn loss(&self, output: &Output) -> Loss {
        let positives = output.logits.clone().gather(1, self.targets.clone().unsqueeze_dim(1));
        (output.logits.clone().powi_scalar(2).mean() - positives.mean().mul_scalar(2.0)).into()
    }
}

pub fn main() -> Result<(), Box<dyn Error>> {
    let config = Config { slow_start: 0.0, warmup: 0.0, epochs: 1.0, dim: 32, ..Config::mini() };
    let encoder = config.encoder()?.build()?;
    let parameters = Parameters::init(encoder.layout().clone(), config.seed, &Device::flex());
    let mut trainer = Trainer::with_method(&config, Box::new(SpectralContrastive), encoder, parameters);
    let plan = config.schedule(20 * config.batch)?.plan(0);
    let batch = Batch::noise(&config, 0, &Device::flex());
    for step in 0..4 {
        let losses = trainer.step(batch.clone(), plan).losses.weighted;
        println!("step {step}: loss of all widths {}", Tensor::<1>::cat(losses, 0).sum().into_scalar::<f32>());
    }
    Ok(())
}
