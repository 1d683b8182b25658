//! `slimclr demo`: a small run on the embedded images, with as many steps as fit into the given time.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::Args;
use slimclr_core::{
    config::Config,
    method::Batch,
    train::{Run, Split},
};

use super::{evaluate::evaluate_run, pretrain};
use crate::{
    data::{self, loader::Loader},
    device, interrupt,
    new_trainer::new_trainer,
    run_folder::RunFolder,
    step_timing::seconds_per_step,
    summary,
    terminal::Progress,
};

/// Flags of `slimclr demo`.
#[derive(Args)]
pub struct DemoFlags {
    /// Minutes to train
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Folder for the run [default: runs/demo-1, or the next free number]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Device: auto, cpu, vulkan, webgpu or cuda, or one of several such as cuda:1
    #[arg(long, default_value = "auto")]
    device: String,
    /// Random seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Trains, evaluates, and writes the report.
///
/// # Errors
/// If the device does not exist or the folder cannot be written.
pub fn run(flags: &DemoFlags) -> Result<ExitCode> {
    if !(flags.minutes > 0.0 && flags.minutes.is_finite()) {
        bail!("--minutes {} must be a number above 0", flags.minutes);
    }
    let mut config = Config { device: flags.device.clone(), seed: flags.seed, ..Config::mini() };
    let (device, device_name) = device::open(&config.device)?;
    let dataset = data::open_of_run(&config)?;
    let steps = steps_within(&config, &device, 60.0 * flags.minutes)?;
    config.epochs = steps / config.schedule(dataset.len(Split::Train))?.steps_per_epoch as f64;
    // Eight points are enough for a curve; more would take time from training.
    config.evaluate_every = config.epochs / 8.0;

    let (folder, lock) = match &flags.out {
        Some(path) => RunFolder::create(path, &config, dataset.summary())?,
        None => RunFolder::create_numbered("demo", &config, dataset.summary())?,
    };
    let trainer = new_trainer(&config, &device)?;
    let loader = Loader::new(dataset, &config, Some(folder.clone()))?;
    let listening = interrupt::listen(pretrain::STOPPING);
    let run = Run::new(config.clone(), trainer, (device.clone(), device_name), loader, listening);
    if pretrain::train(run, (&folder, &lock), None)? {
        summary::show(&folder, &[])?;
        pretrain::print_resume_hint(&folder);
        return Ok(ExitCode::from(interrupt::EXIT_CODE));
    }
    evaluate_run(&folder, &config, &device)?;
    Ok(ExitCode::SUCCESS)
}

/// Estimates how many steps of the run fit into `seconds`, by timing a few steps with and without sub-networks.
fn steps_within(config: &Config, device: &Device, seconds: f64) -> Result<f64> {
    let _progress = Progress::spinner("timing a few steps");
    let mut trainer = new_trainer(config, device)?;
    let batch = Batch::noise(config, 0, device);
    let mut timed =
        |trains_subnetworks| seconds_per_step(&mut trainer, device, trains_subnetworks, || Ok(batch.clone()));
    let per_step = config.slow_start * timed(false)? + (1.0 - config.slow_start) * timed(true)?;
    Ok((seconds / per_step).floor().max(8.0))
}
