//! Trainers at step 0.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use slimclr_core::{
    config::Config,
    encoder::Encoder,
    method::{self, Trainer},
    parameter::Parameters,
};

use crate::{pretrained, teacher, terminal};

/// Creates a trainer at step 0, with the option's teacher, and with random weights or those of the option `init`.
///
/// # Errors
/// If the options describe no valid network, or a network that they name cannot be read or does not fit.
pub fn new_trainer(config: &Config, device: &Device) -> Result<Trainer> {
    let encoder = config.encoder()?.build()?;
    let method = method::from_config(config, &encoder, teacher::open(config, device)?, device);
    let query = initial_weights(config, &encoder, device)?;
    Ok(Trainer::with_method(config, method, encoder, query))
}

/// Returns random weights, or those of the option `init`.
fn initial_weights(config: &Config, encoder: &Encoder, device: &Device) -> Result<Parameters> {
    let layout = encoder.layout().clone();
    if config.init.is_empty() {
        return Ok(Parameters::init(layout, config.seed, device));
    }
    let path = Path::new(&config.init);
    let trained = pretrained::sub_network(pretrained::open(path)?, config.init_width, path)?;
    let (other, weights) = trained.load(device)?;
    let [ours, theirs] = [encoder, &other].map(|encoder| encoder.layout().widths());
    if ours.len() > 1 && theirs.len() > 1 && ours.slicing() != theirs.slicing() {
        bail!("--init {}: its sub-networks use other channels; set --disjoint as in that run", config.init);
    }
    let (query, transfer) = Parameters::started_from(&weights, layout, config.seed, device)
        .with_context(|| pretrained::other_backbone(&config.init, &trained.config))?;
    terminal::note(&pretrained::describe_transfer(&config.init, &transfer));
    Ok(query)
}
