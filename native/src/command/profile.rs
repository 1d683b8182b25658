//! `slimclr profile`: what a network costs at each width.

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
};

/// Flags of `slimclr profile`.
#[derive(Args)]
pub struct ProfileFlags {
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
/// If the options describe no network.
pub fn run(flags: &ProfileFlags, matches: &ArgMatches) -> Result<()> {
    let config = options::merge(&flags.preset.config(), None, &flags.options, matches)?;
    let mut encoder = config.encoder()?;
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
