//! `slimclr profile`: parameters and multiply-accumulates at each width and stage.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Arg, ArgMatches, Args};
use slimclr_core::{
    config::Config,
    head::HeadKind,
    profile::{Profile, profile},
};

use crate::{
    options::{self, Preset},
    pretrained,
    terminal::{self, aligned, count},
};

/// Flags of `slimclr profile`.
#[derive(Args)]
#[command(mut_args(|option| {
    let is_hidden = has_no_effect(&option);
    option.hide(is_hidden)
}))]
pub struct ProfileFlags {
    /// Trained network to count, instead of options: a run's folder, a checkpoint, or a PyTorch or safetensors file of
    /// another program
    #[arg(
        value_name = "RUN",
        conflicts_with_all =
            ["preset", "method", "backbone", "depth", "multiplier", "widths", "disjoint", "dim", "hidden", "init"]
    )]
    run: Option<PathBuf>,
    /// Preset to start from; the defaults shown below are those of 'cifar10'
    #[arg(long, value_enum, default_value = "cifar10")]
    preset: Preset,
    /// Count a linear classifier with this many classes instead of the projection head
    #[arg(long)]
    classes: Option<usize>,
    #[command(flatten)]
    options: Config,
}

/// Returns whether an option, such as one of training, has no effect on the counts.
fn has_no_effect(option: &Arg) -> bool {
    let affects_network = ["method", "image_size"].contains(&option.get_id().as_str());
    !affects_network && option.get_help_heading().is_some_and(|heading| heading != "Network")
}

/// Prints the parameters and multiply-accumulates of each stage and of the whole network, per width.
///
/// # Errors
/// If the options describe no valid network, or the trained one cannot be read.
pub fn run(flags: &ProfileFlags, matches: &ArgMatches) -> Result<()> {
    let trained = flags.run.as_deref().map(pretrained::open).transpose()?;
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

/// Formats a table with one row per stage and a total, and two columns per width.
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
