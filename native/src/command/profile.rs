//! `slimclr profile`: what a network costs at each width and stage.

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
    trained,
};

/// Flags of `slimclr profile`.
#[derive(Args)]
pub struct ProfileFlags {
    /// A trained network in place of the options': a run's folder, a checkpoint, or a PyTorch file of the authors'
    #[arg(
        value_name = "RUN",
        conflicts_with_all =
            ["preset", "method", "backbone", "depth", "multiplier", "widths", "disjoint", "dim", "hidden", "init"]
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

/// Prints parameters and multiply-accumulates of each stage and of the whole, per width.
///
/// # Errors
/// If the options describe no network, or the trained one cannot be read.
pub fn run(flags: &ProfileFlags, matches: &ArgMatches) -> Result<()> {
    let trained = flags.run.as_deref().map(trained::open).transpose()?;
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
    terminal::print(&table(&profile(&encoder.build()?, config.image_size)));
    Ok(())
}

/// A line for each stage and one for the whole, a pair of columns for each width.
fn table(profiles: &[Profile]) -> String {
    let names = profiles[0].stages.iter().map(|stage| stage.name.as_str()).chain(["total"]);
    let mut rows: Vec<Vec<String>> = names.map(|name| vec![name.to_owned()]).collect();
    let mut heads = vec!["stage".to_owned()];
    for Profile { width, parameters, macs, stages } in profiles {
        heads.extend([format!("width {width}\nparameters"), "MACs".into()]);
        let costs = stages.iter().map(|stage| [stage.parameters, stage.macs]).chain([[*parameters, *macs]]);
        for (row, cost) in rows.iter_mut().zip(costs) {
            row.extend(cost.map(count));
        }
    }
    aligned(&heads, &rows)
}
