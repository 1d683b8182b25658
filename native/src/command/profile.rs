//! `slimclr profile`: what a network costs at each width.

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgMatches, Args};
use slimclr_core::{
    config::Config,
    head::HeadKind,
    profile::{Profile, profile},
};

use crate::{
    options::{self, Preset},
    terminal::{self, aligned, count},
    trained::Trained,
};

/// Flags of `slimclr profile`.
#[derive(Args)]
pub struct ProfileFlags {
    /// A trained network in place of the options': a run's folder, a checkpoint, or a PyTorch file of the authors'
    #[arg(
        value_name = "RUN",
        conflicts_with_all = ["preset", "backbone", "depth", "multiplier", "widths", "dim"]
    )]
    run: Option<PathBuf>,
    /// Options to begin with; the defaults shown below are those of 'cifar10'
    #[arg(long, value_enum, default_value = "cifar10")]
    preset: Preset,
    /// Count a linear classifier of this many classes in place of the projection head
    #[arg(long)]
    classes: Option<usize>,
    #[command(flatten)]
    options: Config,
}

/// Prints parameters and multiply-accumulates per width.
///
/// # Errors
/// If the options describe no network, or the trained one cannot be read.
pub fn run(flags: &ProfileFlags, matches: &ArgMatches) -> Result<()> {
    let trained = flags.run.as_deref().map(Trained::open).transpose()?;
    let mut base = flags.preset.config();
    if let Some(trained) = &trained {
        base.image_size = trained.options().image_size;
    }
    let config = options::merge(&base, None, &flags.options, matches)?;
    let mut encoder = match trained {
        Some(trained) => trained.config,
        None => config.encoder()?,
    };
    if let Some(classes) = flags.classes {
        encoder.head = HeadKind::SupervisedSwitch;
        encoder.outputs = classes;
    }
    let rows: Vec<[String; 3]> = profile(&encoder.build()?, config.image_size)
        .into_iter()
        .map(|Profile { width, parameters, macs, .. }| [width.to_string(), count(parameters), count(macs)])
        .collect();
    terminal::print(&aligned(&["width", "parameters", "MACs"], &rows));
    Ok(())
}
