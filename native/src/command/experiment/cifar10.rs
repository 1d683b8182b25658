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
        seeds,
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
    let shared = experiment.shared();
    let arms_of = |seed: &u64| -> Vec<Arm> { variants.iter().map(|variant| variant.arm(*seed, shared)).collect() };
    let arms: Vec<Arm> = common.seeds.iter().flat_map(arms_of).collect();
    experiment.begin(&arms)?;
    let device = experiment.shared().device.clone();
    let with_landscape = common.seeds.iter().flat_map(|seed| in_figures(&experiment, *seed)).collect();
    experiment.run(&arms, &Comparison { device, seeds: common.seeds.clone(), with_landscape })
}

/// Names the arms with a seed that figures 3 to 5 show.
fn in_figures(experiment: &Experiment, seed: u64) -> Vec<String> {
    let variants = Variant::all(&experiment.shared().widths).into_iter().filter(|variant| variant.is_in_figures());
    variants.map(|variant| variant.arm_name(seed)).collect()
}

/// What the comparison makes of its arms.
struct Comparison {
    /// The option `device`.
    device: String,
    seeds: Vec<u64>,
    /// The names of the arms that get a loss landscape.
    with_landscape: Vec<String>,
}

impl Outputs for Comparison {
    /// Computes the loss landscape, if the arm is to have one and there is none.
    fn complete(&self, arm: &Arm, run: &RunFolder) -> Result<()> {
        if self.with_landscape.contains(&arm.name) && !run.landscape_path().exists() {
            landscape::compute(run, &LandscapeFlags::new(run, &self.device, CELLS))?;
        }
        Ok(())
    }

    fn write_tables(&self, experiment: &Experiment) -> Result<String> {
        let results = Results::of(experiment, &self.seeds)?;
        results.write(experiment.out())?;
        Ok(results.table())
    }

    /// Writes a report of all arms with the first seed that have started, side by side, and the paper's figures of those
    /// that it shows.
    fn write_figures(&self, experiment: &Experiment) -> Result<()> {
        let Some(seed) = seeds::so_far(experiment.out(), &self.seeds).first().copied() else { return Ok(()) };
        let reports = |arms: Vec<String>| {
            let folders = arms.iter().map(|arm| experiment.folder(arm));
            let has_started = |path: &PathBuf| {
                RunFolder::open(path).and_then(|folder| folder.events()).is_ok_and(|events| !events.is_empty())
            };
            report::read(&folders.filter(has_started).collect::<Vec<_>>())
        };
        let all = Variant::all(&experiment.shared().widths).iter().map(|variant| variant.arm_name(seed)).collect();
        let (all, of_paper) = (reports(all)?, reports(in_figures(experiment, seed))?);
        if !all.is_empty() {
            report::write(&all, &experiment.out().join(REPORT))?;
        }
        if of_paper.is_empty() {
            return Ok(());
        }
        let figures = slimclr_report::figures(&of_paper);
        report::note_missing(&figures);
        report::write_figures(&figures, &experiment.out().join(FIGURES))
    }
}
