//! The results of the comparison so far.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use slimclr_core::{
    config::Config,
    event::Evaluated,
    profile::{Profile, profile},
};
use slimclr_report::{FigureFile, SystemNetwork, accuracy_by_time};

use super::{
    START_EPOCHS, System, TEACHER, arm_names,
    teacher::{Teacher, Teaching},
    teacher_config,
};
use crate::experiment::{
    Experiment,
    arm_result::{ArmResult, State},
    mean::Mean,
    plain, seeds,
    setting::Setting,
    tables,
};

/// What the arms share, and the networks that they have given.
#[derive(Serialize)]
pub struct Results {
    #[serde(flatten)]
    pub(super) setting: Setting,
    /// The seeds of the arms, ascending.
    pub(super) seeds: Vec<u64>,
    pub(super) teacher: Teacher,
    /// The networks of the systems that have started: by width, widest first, then in the order of the systems.
    pub(super) networks: Vec<Network>,
    /// The times of these systems.
    pub(super) times: Vec<SystemTime>,
    /// The arms that have started, in the order in which they run.
    pub(super) arms: Vec<ArmResult>,
}

/// One network of a system: means over the seeds.
#[derive(Serialize)]
pub(super) struct Network {
    #[serde(serialize_with = "title")]
    pub system: System,
    pub width: f64,
    /// Its architecture.
    pub student: String,
    /// The teacher, as text, if it has one.
    pub teacher: Option<String>,
    pub epochs: f64,
    /// Of the backbone, without the head.
    pub parameters: u64,
    /// Multiply-accumulates of the backbone for one image.
    pub macs: u64,
    /// Top-1 and top-5 of the linear probe.
    pub top1: Option<Mean>,
    pub top5: Option<Mean>,
    pub knn: Option<Mean>,
    /// Top-1 of ridge regression.
    pub ridge: Option<Mean>,
    /// Seconds of the training that gives it, without the teacher's.
    pub seconds: Option<f64>,
    /// Whether an arm that gives it has failed.
    pub has_failed: bool,
}

/// The time that a system takes to give its networks.
#[derive(Serialize)]
pub(super) struct SystemTime {
    #[serde(serialize_with = "title")]
    pub system: System,
    /// Whether a teacher is trained before.
    pub has_teacher: bool,
    /// Seconds of its training, if known.
    pub teacher_seconds: Option<f64>,
    /// The number of trained networks.
    pub networks: usize,
    /// Seconds that all of them take together, without the teacher's; `None` if there is none.
    pub seconds: Option<f64>,
}

impl SystemTime {
    /// Returns the seconds that all networks take together, with the teacher's as far as they are known.
    pub fn total(&self) -> Option<f64> {
        Some(self.seconds? + self.teacher_seconds.unwrap_or(0.0))
    }
}

impl Results {
    /// Reads the results so far, including those of earlier commands. `given` is the teacher, if it is not trained by an
    /// arm; `seeds` are those of this command.
    ///
    /// # Errors
    /// If a run's events cannot be read, or the options describe no valid network.
    pub fn of(experiment: &Experiment, given: Option<&Teacher>, seeds: &[u64]) -> Result<Self> {
        let (setting, seeds) = (experiment.setting()?, seeds::so_far(experiment.out(), seeds));
        let mut names = vec![TEACHER.to_owned()];
        for (seed, system) in seeds.iter().flat_map(|seed| System::all().into_iter().map(move |it| (*seed, it))) {
            names.extend(setting.options.widths.iter().flat_map(|width| arm_names(system, *width, seed)));
        }
        // All widths of a slimmable network have the same arm.
        names.dedup();
        let arms: Vec<Option<ArmResult>> = names.iter().map(|name| experiment.result(name)).collect::<Result<_>>()?;
        Self::new(setting, seeds, given, arms.into_iter().flatten().collect())
    }

    /// Collects the results of `arms`.
    ///
    /// # Errors
    /// If the options describe no valid network.
    pub(super) fn new(
        setting: Setting,
        seeds: Vec<u64>,
        given: Option<&Teacher>,
        arms: Vec<ArmResult>,
    ) -> Result<Self> {
        let options = &setting.options;
        let teacher = match given {
            Some(given) => given.clone(),
            None => {
                let arm = arms.iter().find(|arm| arm.arm == TEACHER);
                Teacher::of_arm(&teacher_config(options).encoder()?, arm)
            }
        };
        let mut networks = Vec::new();
        for (width, system) in options.widths.iter().flat_map(|width| System::all().into_iter().map(|it| (*width, it)))
        {
            let runs = Runs { arms: &arms, system, width, seeds: &seeds };
            if runs.have_started() {
                networks.push(Network::of(options, &runs, &teacher)?);
            }
        }
        let times =
            System::all().into_iter().filter_map(|system| SystemTime::of(system, &networks, &teacher)).collect();
        Ok(Self { setting, seeds, teacher, networks, times, arms })
    }

    /// Writes the tables and the JSON file into an experiment's folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        tables::write(folder, &self.markdown(), self)
    }

    /// Draws accuracy against the time of pre-training.
    pub fn figure(&self) -> FigureFile {
        let (reference, others): (Vec<_>, Vec<_>) =
            System::all().into_iter().partition(|it| *it == System::SlimclrMocov2);
        let drawn = |systems: Vec<System>| systems.into_iter().map(|system| self.drawn(system)).collect::<Vec<_>>();
        accuracy_by_time(&drawn(reference)[0], &drawn(others))
    }

    /// Returns what is drawn of a system.
    fn drawn(&self, system: System) -> slimclr_report::System {
        let time = self.times.iter().find(|time| time.system == system);
        let of_teacher = time.and_then(|time| time.teacher_seconds);
        let network = |network: &Network| {
            Some(SystemNetwork {
                width: network.width,
                seconds: network.seconds? + of_teacher.unwrap_or(0.0),
                accuracy: network.top1?.mean,
                standard_error: network.top1?.standard_error,
            })
        };
        let lacks_time = time.is_some_and(|time| time.has_teacher && of_teacher.is_none());
        slimclr_report::System {
            name: format!("{}{}", system.title(), if lacks_time { " without its teacher’s time" } else { "" }),
            networks: self.networks.iter().filter(|it| it.system == system).filter_map(network).collect(),
            seconds: time.and_then(SystemTime::total),
        }
    }
}

/// The runs that give a system's network of one width.
struct Runs<'a> {
    /// All arms.
    arms: &'a [ArmResult],
    system: System,
    width: f64,
    seeds: &'a [u64],
}

impl<'a> Runs<'a> {
    /// Returns the results of the arms with a seed, as far as they have started.
    fn with_seed(&self, seed: u64) -> Vec<&'a ArmResult> {
        let names = arm_names(self.system, self.width, seed);
        names.iter().filter_map(|name| self.arms.iter().find(|arm| arm.arm == *name)).collect()
    }

    fn all(&self) -> impl Iterator<Item = Vec<&'a ArmResult>> {
        self.seeds.iter().map(|seed| self.with_seed(*seed)).filter(|arms| !arms.is_empty())
    }

    fn have_started(&self) -> bool {
        self.all().next().is_some()
    }

    /// Returns the seconds of training, a mean over the seeds that are done.
    fn seconds(&self) -> Option<f64> {
        let done = self.all().filter(|arms| arms.iter().all(|arm| arm.state == State::Done));
        let seconds: Vec<f64> = done.map(|arms| arms.iter().map(|arm| arm.training_seconds).sum()).collect();
        Mean::of(&seconds).map(|seconds| seconds.mean)
    }

    /// Computes the mean of a measure.
    fn mean(&self, measure: impl Fn(&Evaluated) -> Option<f64>) -> Option<Mean> {
        let width = if self.system.trains_all_widths() { self.width } else { 1.0 };
        let of_seed = |arms: Vec<&ArmResult>| measure(arms.last()?.evaluated_at(width)?);
        Mean::of(&self.all().filter_map(of_seed).collect::<Vec<_>>())
    }

    fn have_failed(&self) -> bool {
        self.all().flatten().any(|arm| matches!(arm.state, State::Failed { .. }))
    }
}

impl Network {
    fn of(shared: &Config, runs: &Runs, teacher: &Teacher) -> Result<Self> {
        let Runs { system, width, .. } = *runs;
        let student = plain(shared, width);
        let encoder = student.encoder()?;
        let [parameters, macs] =
            profile(&encoder.build()?, student.image_size).first().map(Profile::of_backbone).unwrap_or_default();
        let teacher = match system.teaching() {
            Teaching::None => None,
            Teaching::Frozen => Some(teacher.network.clone()),
            Teaching::AtFirst => Some(format!("{}, for the first {START_EPOCHS} epochs", teacher.network)),
            Teaching::Online => Some(format!("{}, trained beside it", teacher_config(shared).encoder()?)),
        };
        Ok(Self {
            system,
            width,
            student: encoder.to_string(),
            teacher,
            epochs: shared.epochs,
            parameters,
            macs,
            top1: runs.mean(|it| it.probe),
            top5: runs.mean(|it| it.probe_top5),
            knn: runs.mean(|it| it.knn),
            ridge: runs.mean(|it| it.ridge),
            seconds: runs.seconds(),
            has_failed: runs.have_failed(),
        })
    }
}

impl SystemTime {
    /// Adds up the time of a system; `None` if it has not started.
    fn of(system: System, networks: &[Network], teacher: &Teacher) -> Option<Self> {
        let of_system = || networks.iter().filter(|network| network.system == system);
        let seconds: Vec<f64> = of_system().filter_map(|network| network.seconds).collect();
        let has_teacher = matches!(system.teaching(), Teaching::Frozen | Teaching::AtFirst);
        of_system().next().map(|_| Self {
            system,
            has_teacher,
            teacher_seconds: if has_teacher { teacher.seconds } else { None },
            networks: seconds.len(),
            seconds: if system.trains_all_widths() {
                seconds.first().copied()
            } else {
                (!seconds.is_empty()).then(|| seconds.iter().sum())
            },
        })
    }
}

fn title<S: serde::Serializer>(system: &System, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(system.title())
}
