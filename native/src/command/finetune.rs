//! `slimclr finetune`: trains a pre-trained network, or its classifiers alone, on labelled images.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use slimclr_core::{
    config::{Config, in_range},
    width::Slicing,
};

use super::pretrain::NewRun;
use crate::{pretrained, width_choice::WidthChoice};

/// Name of the folders of new runs.
const NAME: &str = "finetune";

/// Flags of `slimclr finetune`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  slimclr finetune runs/c10 --data data/cifar10                   all widths, on all labels
  slimclr finetune runs/c10 --data data/cifar10 --fraction 0.1    on a tenth of the labels
  slimclr finetune runs/c10 --data data/cifar10 --width 0.5       one width, as a plain network
  slimclr finetune runs/c10 --data data/cifar10 --frozen          the classifiers alone
  slimclr pretrain --resume runs/finetune-1                       continue after Ctrl-C

The result is a run of --method supervised, with more options in its config.toml. To change those:
  slimclr pretrain --config runs/finetune-1/config.toml --weight-decay 0 --out runs/other")]
pub struct FinetuneFlags {
    /// A run's folder, a checkpoint or snapshot, or a PyTorch or safetensors file of another program
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Labelled images, as for pretrain: a folder with a sub-folder for each class, CIFAR-10's batches, or 'embedded'
    #[arg(long)]
    data: String,
    /// Widths to train: all widths together, or a single one as a plain network of that size
    #[arg(long, value_name = "W|all", default_value = "all")]
    width: WidthChoice,
    /// Fraction of the training images of each class, such as 0.01 or 0.1; the same images for every width and seed
    #[arg(long, default_value_t = 1.0)]
    fraction: f64,
    /// Freeze the backbone, and train the classifiers alone
    #[arg(long)]
    frozen: bool,
    /// Folder for the new run [default: runs/finetune-1, or the next free number]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Passes over the training images
    #[arg(long, default_value_t = defaults().epochs)]
    epochs: f64,
    /// Images per step
    #[arg(long, default_value_t = defaults().batch)]
    batch: usize,
    /// Learning rate of the classifiers
    #[arg(long, default_value_t = defaults().learning_rate)]
    learning_rate: f64,
    /// Learning rate of the backbone's last stage, as a factor of --learning-rate
    #[arg(long, default_value_t = defaults().backbone_rate)]
    backbone_rate: f64,
    /// Learning rate of each stage of the backbone, as a factor of the next stage's
    #[arg(long, default_value_t = defaults().stage_decay)]
    stage_decay: f64,
    /// Epochs between evaluations; there is also one before training and one after. 0 for only the one after
    #[arg(long, default_value_t = defaults().evaluate_every)]
    evaluate_every: f64,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    /// Device, as for pretrain [default: the run's]
    #[arg(long)]
    device: Option<String>,
}

fn defaults() -> Config {
    Config::default().with_fine_tuning()
}

/// Trains a new run from the network's weights, and writes its report.
///
/// # Errors
/// If the network, its data or the device cannot be used, or training fails.
pub fn run(flags: &FinetuneFlags) -> Result<ExitCode> {
    // Before the check of the options, in which it has another name.
    let is_part = flags.fraction > 0.0 && flags.fraction <= 1.0;
    in_range("fraction", flags.fraction, is_part, "above 0 and at most 1")?;
    let config = config(flags)?;
    config.check()?;
    let next = "next, export a width with its classifier: slimclr export RUN --width 1";
    NewRun::open(config)?.create(flags.out.as_deref(), NAME)?.train(None, next)
}

/// Returns the options of the new run: those of the network's own run, except what fine-tuning sets.
fn config(flags: &FinetuneFlags) -> Result<Config> {
    let trained = pretrained::read(&flags.run)?;
    let options = trained.options();
    let init = flags.run.to_str().with_context(|| format!("{} is not Unicode: rename it", flags.run.display()))?;
    let (init_width, trained) = match flags.width {
        WidthChoice::All => (1.0, trained),
        WidthChoice::One(width) => (width, pretrained::sub_network(trained, width, Path::new(init))?),
    };
    let network = &trained.config;
    let widths = match flags.width {
        WidthChoice::All => network.widths.iter().collect(),
        WidthChoice::One(_) => vec![1.0],
    };
    Ok(Config {
        backbone: network.backbone,
        depth: network.depth,
        multiplier: network.multiplier,
        disjoint: widths.len() > 1 && network.widths.slicing() == Slicing::Disjoint,
        widths,
        teacher: String::new(),
        init: init.into(),
        init_width,
        data: flags.data.clone(),
        label_fraction: flags.fraction,
        frozen_backbone: flags.frozen,
        epochs: flags.epochs,
        batch: flags.batch,
        learning_rate: flags.learning_rate,
        backbone_rate: flags.backbone_rate,
        stage_decay: flags.stage_decay,
        evaluate_every: flags.evaluate_every,
        seed: flags.seed,
        device: flags.device.clone().unwrap_or_else(|| options.device.clone()),
        scheduled_images: None,
        ..options.with_fine_tuning()
    })
}
