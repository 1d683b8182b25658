//! `slimclr experiment cifar10`: the paper's comparison with a supervised network, and its ablation.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{ArgMatches, Args};

use super::CommonFlags;
use crate::{
    command::{
        landscape::{self, LandscapeFlags},
        report,
    },
    experiment::{
        Experiment, Outputs,
        arm::{Arm, refuse_options, select},
        cifar10::{VARIANT_OPTIONS, Variant, results::Results},
    },
    run_folder::{REPORT, RunFolder},
};

/// Sub-folder of the figures.
const FIGURES: &str = "figures";
/// Grid points per side of an arm's loss landscape: enough for its shape, in half the time of the default.
const CELLS: usize = 15;

/// Flags of `slimclr experiment cifar10`.
#[derive(Args)]
#[command(args_override_self = true)]
#[command(mut_args(|option| {
    let is_hidden = VARIANT_OPTIONS.contains(&option.get_id().as_str());
    option.hide(is_hidden)
}))]
#[command(mut_arg("out", |out| out.default_value("runs/experiment-cifar10")))]
pub struct Cifar10Flags {
    #[command(flatten)]
    common: CommonFlags,
}

/// Runs the arms one after the other, and writes the tables after each.
///
/// # Errors
/// If options, data or device are invalid; or, after the other arms have run, if an arm failed.
pub fn run(Cifar10Flags { common }: &Cifar10Flags, matches: &ArgMatches) -> Result<ExitCode> {
    refuse_options(matches, |option| VARIANT_OPTIONS.contains(&option))?;
    let options = common.options(&common.options, matches)?;
    let variants = select(&common.arms, Variant::all(&options.options.widths))?;
    let experiment = Experiment::open(&common.out, options)?;
    experiment.check_slices()?;
    let arms: Vec<Arm> = variants.into_iter().map(|variant| variant.arm(experiment.shared())).collect();
    experiment.begin(&arms)?;
    let device = experiment.shared().device.clone();
    experiment.run(&arms, &Comparison { device })
}

/// What the comparison makes of its arms.
struct Comparison {
    /// The option `device`.
    device: String,
}

impl Outputs for Comparison {
    /// Computes the loss landscape, unless there is one.
    fn complete(&self, run: &RunFolder) -> Result<()> {
        if !run.landscape_path().exists() {
            landscape::compute(run, &LandscapeFlags::new(run, &self.device, CELLS))?;
        }
        Ok(())
    }

    fn write_tables(&self, experiment: &Experiment) -> Result<String> {
        let results = Results::of(experiment)?;
        results.write(experiment.out())?;
        Ok(results.table())
    }

    /// Writes a report of all arms that have started, side by side.
    fn write_figures(&self, experiment: &Experiment) -> Result<()> {
        let variants = Variant::all(&experiment.shared().widths);
        let folders = variants.into_iter().map(|variant| experiment.folder(&variant.to_string()));
        let has_started = |path: &PathBuf| {
            RunFolder::open(path).and_then(|folder| folder.events()).is_ok_and(|events| !events.is_empty())
        };
        let started: Vec<PathBuf> = folders.filter(has_started).collect();
        if started.is_empty() {
            return Ok(());
        }
        report::write(&started, &experiment.out().join(REPORT), Some(&experiment.out().join(FIGURES)))
    }
}
