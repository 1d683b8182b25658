//! `slimclr experiment methods`: the paper's comparison with systems that learn from a teacher.

use std::{path::Path, process::ExitCode};

use anyhow::{Result, bail};
use clap::{ArgMatches, Args};
use slimclr_core::config::Config;

use super::{CommonFlags, once};
use crate::{
    command::report,
    experiment::{
        Experiment, Outputs,
        arm::{refuse_options, select},
        methods::{Comparison, System, is_set_by_arms, results::Results, teacher::Teacher},
    },
    options, teacher,
};

/// Sub-folder of the figure.
const FIGURES: &str = "figures";

/// Flags of `slimclr experiment methods`.
#[derive(Args)]
#[command(args_override_self = true)]
#[command(mut_args(|option| {
    let key = option.get_id().as_str().to_owned();
    let is_hidden = is_set_by_arms(&key) && options::keys().is_ok_and(|keys| keys.contains(&key));
    option.hide(is_hidden)
}))]
#[command(mut_arg("out", |out| out.default_value("runs/experiment-methods")))]
#[command(mut_arg("teacher", |teacher| teacher
    .help("Trained teacher: a run's folder, a checkpoint, or a PyTorch or safetensors file of another program \
           [default: one is trained]")))]
#[command(mut_arg("teacher_depth", |depth| depth.help("Depth of the teacher")))]
#[command(mut_arg("teacher_multiplier", |multiplier| multiplier.help("Multiplier of the teacher's channels")))]
pub struct MethodsFlags {
    #[command(flatten)]
    common: CommonFlags,
    /// Widths, of those in --widths, to train a student of each size for, separated by commas [default: all]
    #[arg(long, value_name = "WIDTH,…", value_delimiter = ',')]
    students: Vec<f64>,
}

/// Runs the arms one after the other, and writes the tables after each.
///
/// # Errors
/// If options, data, teacher or device are invalid; or, after the other arms have run, if an arm failed.
pub fn run(flags: &MethodsFlags, matches: &ArgMatches) -> Result<ExitCode> {
    refuse_options(matches, is_set_by_arms)?;
    let MethodsFlags { common, students } = flags;
    // The option is for all arms together; not every arm has a teacher.
    let given = common.options.teacher.clone();
    let mut options = common.options(&Config { teacher: String::new(), ..common.options.clone() }, matches)?;
    options.options = Config { teacher: given.clone(), interference: false, ..options.options };
    let students = students_of(students, &options.options.widths)?;
    let systems = select(&common.arms, System::all())?;

    let experiment = Experiment::open(&common.out, options)?;
    experiment.check_slices()?;
    let arms = Comparison::of(&experiment).arms(&systems, &students, &common.seeds)?;
    let teacher = match given.is_empty() {
        true => None,
        false => {
            let students = arms.iter().map(|arm| &arm.config).filter(|config| config.needs_teacher());
            let architecture = teacher::check(Path::new(&given), students, experiment.device())?;
            Some(Teacher::given(Path::new(&given), &architecture)?)
        }
    };
    experiment.begin(&arms)?;
    experiment.run(&arms, &Tables { teacher, seeds: common.seeds.clone() })
}

/// Returns the widths of the students: those of `--students`, or else all `widths`.
fn students_of(students: &[f64], widths: &[f64]) -> Result<Vec<f64>> {
    once("--students", students)?;
    if let Some(other) = students.iter().find(|width| !widths.contains(width)) {
        let widths: Vec<String> = widths.iter().map(|width| format!("{width:?}")).collect();
        bail!("--students {other:?} is not among the widths: choose from {}, or set --widths", widths.join(", "));
    }
    Ok(if students.is_empty() { widths.to_vec() } else { students.to_vec() })
}

/// What the comparison makes of its arms.
struct Tables {
    /// The teacher, if it is not trained by an arm.
    teacher: Option<Teacher>,
    seeds: Vec<u64>,
}

impl Tables {
    fn results(&self, experiment: &Experiment) -> Result<Results> {
        Results::of(experiment, self.teacher.as_ref(), &self.seeds)
    }
}

impl Outputs for Tables {
    fn write_tables(&self, experiment: &Experiment) -> Result<String> {
        let results = self.results(experiment)?;
        results.write(experiment.out())?;
        Ok(results.table())
    }

    /// Draws accuracy against the time of pre-training.
    fn write_figures(&self, experiment: &Experiment) -> Result<()> {
        let figures = [self.results(experiment)?.figure()];
        report::note_missing(&figures);
        report::write_figures(&figures, &experiment.out().join(FIGURES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_are_some_of_the_widths() {
        let of = |students: &[f64]| students_of(students, &[1.0, 0.5]).map_err(|error| error.to_string());
        assert_eq!(of(&[]).unwrap(), [1.0, 0.5]);
        assert_eq!(of(&[0.5]).unwrap(), [0.5]);
        assert_eq!(
            of(&[0.3]).unwrap_err(),
            "--students 0.3 is not among the widths: choose from 1.0, 0.5, or set --widths"
        );
        assert_eq!(of(&[0.5, 0.5]).unwrap_err(), "--students has 0.5 twice: name each once");
    }
}
