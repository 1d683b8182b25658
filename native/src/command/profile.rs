//! `slimclr profile`: parameters and multiply-accumulates at each width and stage, and the time of a run on many devices.

mod scaling;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Arg, ArgMatches, Args, builder::ArgPredicate};
use slimclr_core::{
    config::Config,
    head::HeadKind,
    profile::{Profile, profile},
    scaling::IMAGENET,
};

use crate::{
    options::{self, Preset},
    pretrained,
    terminal::{self, aligned, count},
};

/// Heading of the flags that describe many devices.
const MANY_DEVICES: &str = "Many devices";

/// Flags of `slimclr profile`.
#[derive(Args)]
#[command(mut_args(adapted))]
#[command(after_help = "\
Examples:
  slimclr profile --preset imagenet-mocov2                        parameters and multiply-accumulates
  slimclr profile --ranks 8,64,512 --device h100 --precision f16  a run on many devices, on paper

With --ranks, times are of a model, not measured: operations and bytes at the peaks of the devices' data sheets, times
the fraction of them that the paper's run reached on V100, and messages by NCCL's latencies. docs/method.md has it.")]
pub struct ProfileFlags {
    /// Trained network to count, instead of options: a run's folder, a checkpoint, or a PyTorch or safetensors file of
    /// another program
    #[arg(
        value_name = "RUN",
        conflicts_with_all =
            ["preset", "method", "backbone", "depth", "multiplier", "widths", "disjoint", "dim", "hidden", "init"]
    )]
    run: Option<PathBuf>,
    /// Preset to start from, with --ranks by default 'imagenet-mocov2'; the defaults shown below are those of 'cifar10'
    #[arg(
        long,
        value_enum,
        default_value = "cifar10",
        default_value_if("ranks", ArgPredicate::IsPresent, "imagenet-mocov2")
    )]
    preset: Preset,
    /// Count a linear classifier with this many classes instead of the projection head
    #[arg(long)]
    classes: Option<usize>,
    /// Numbers of devices, separated by commas: model a run on so many that share its batch, and say where scaling bends
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "N",
        conflicts_with_all = ["run", "classes"],
        help_heading = MANY_DEVICES
    )]
    ranks: Vec<usize>,
    /// Training images; the default is ImageNet's
    #[arg(long, value_name = "N", default_value_t = IMAGENET, requires = "ranks", help_heading = MANY_DEVICES)]
    images: usize,
    /// Images per second that one such device was measured to train at all widths, instead of the paper's efficiency
    #[arg(long, value_name = "RATE", requires = "ranks", help_heading = MANY_DEVICES)]
    measured: Option<f64>,
    #[command(flatten)]
    options: Config,
}

/// Options that have an effect, besides those of the network. The later ones have it with `--ranks`.
const WITH_EFFECT: [&str; 9] =
    ["method", "image_size", "batch", "accumulate", "recompute", "bn_splits", "slow_start", "epochs", "precision"];

/// Returns an option as this command shows it: those without effect are hidden, and the device is one of a data centre.
fn adapted(option: Arg) -> Arg {
    let id = option.get_id().as_str();
    if id == "device" {
        return option
            .help(format!("Kind of the devices, in servers of eight: {}", scaling::device_kinds()))
            .default_value("h100")
            .help_heading(MANY_DEVICES);
    }
    let heading = option.get_help_heading();
    let has_effect = WITH_EFFECT.contains(&id) || heading.is_none_or(|it| [MANY_DEVICES, "Network"].contains(&it));
    option.hide(!has_effect)
}

/// Prints the parameters and multiply-accumulates of each stage and of the whole network, per width; or the times of a run
/// on many devices.
///
/// # Errors
/// If the options describe no valid network, the trained one cannot be read, or the devices cannot share the batch.
pub fn run(flags: &ProfileFlags, matches: &ArgMatches) -> Result<()> {
    let trained = flags.run.as_deref().map(pretrained::open).transpose()?;
    let mut base = flags.preset.config();
    if let Some(trained) = &trained {
        base.image_size = trained.options().image_size;
    }
    let config = options::merge(&base, None, &flags.options, matches)?;
    if !flags.ranks.is_empty() {
        return scaling::run(&config, flags);
    }
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
