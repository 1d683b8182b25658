//! Experiments: arms that are trained one after the other, each an ordinary run in a folder of its name, and tables of
//! their results.
//!
//! [`Experiment`] runs the arms of any experiment on CIFAR-10. The sub-modules named after an experiment have its arms and
//! its tables.

pub mod arm;
pub mod arm_result;
pub mod cifar10;
#[cfg(test)]
mod fixture;
mod gradients;
mod mean;
pub mod methods;
mod options;
pub mod protocol;
mod recording;
pub mod seeds;
mod setting;
pub mod tables;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use slimclr_core::{
    config::Config,
    loss::{distill::Distillation, reweight::Reweighting},
    profile::profile,
    train::{Run, Split},
};

pub use self::options::Options;
use self::{
    arm::Arm,
    arm_result::{ArmResult, State},
    setting::Setting,
};
use crate::{
    bags,
    command::{
        evaluate::evaluate_run,
        pretrain::{STOPPING, train},
    },
    data::{self, Dataset, cifar10 as images, loader::Loader},
    device, interrupt, model_card,
    new_trainer::new_trainer,
    options as run_options,
    resume::{Request, Resumption},
    run_folder::RunFolder,
    shell, teacher, teacher_features,
    terminal::{self, note},
};

/// Sub-folder of the images of an experiment on a subset.
const DATA: &str = "data";

/// What an experiment makes of its arms.
pub trait Outputs {
    /// Adds to a run that is trained and evaluated.
    ///
    /// # Errors
    /// If that fails; the arm has then failed.
    fn complete(&self, _arm: &Arm, _run: &RunFolder) -> Result<()> {
        Ok(())
    }

    /// Writes tables of all results so far, those of earlier commands included. Returns the one for the terminal.
    ///
    /// # Errors
    /// If a run cannot be read, or a file cannot be written.
    fn write_tables(&self, experiment: &Experiment) -> Result<String>;

    /// Writes figures, after the last arm.
    ///
    /// # Errors
    /// As [`write_tables`](Self::write_tables).
    fn write_figures(&self, experiment: &Experiment) -> Result<()>;
}

/// An experiment on CIFAR-10, and its folder.
pub struct Experiment {
    out: PathBuf,
    options: Options,
    /// The images that are given, of which the arms' may be a subset.
    source: Dataset,
    /// The options that the arms share.
    shared: Config,
    training_images: usize,
    device: (Device, String),
    /// The names of the arms that failed in this process, with the error.
    failures: Vec<(String, String)>,
}

/// How an arm ended.
enum End {
    /// Trained and evaluated.
    Done,
    /// Stopped by Ctrl-C.
    Interrupted,
}

impl Experiment {
    /// Opens the images and the device of an experiment in the folder `out`. Writes nothing.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn open(out: &Path, options: Options) -> Result<Self> {
        let source = data::open_cifar10(&options.options.data)?;
        let data = match options.images {
            None => options.options.data.clone(),
            Some(_) => path_in(out, DATA)?,
        };
        let training_images = options.images.unwrap_or(source.len(Split::Train));
        let shared = Config { data, ..options.options.clone() };
        let (shared, device) = device::for_run(shared)?;
        Ok(Self { out: out.to_owned(), options, source, shared, training_images, device, failures: Vec::new() })
    }

    /// Returns the experiment's folder.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Returns the options that the arms share.
    pub fn shared(&self) -> &Config {
        &self.shared
    }

    /// Returns the device.
    pub fn device(&self) -> &Device {
        &self.device.0
    }

    /// Returns the folder of an arm's run.
    pub fn folder(&self, arm: &str) -> PathBuf {
        self.out.join(arm)
    }

    /// Checks that a plain network of each width has the size of that slice of the slimmable network. It may be larger if
    /// the multiplier rounded the network's channels down.
    ///
    /// # Errors
    /// If one has another size.
    pub fn check_slices(&self) -> Result<()> {
        let parameters = |config: &Config| -> Result<Vec<u64>> {
            let profiles = profile(&config.encoder()?.build()?, config.image_size);
            Ok(profiles.iter().map(|profile| profile.parameters).collect())
        };
        for (width, slice) in self.shared.widths.iter().zip(parameters(&self.shared)?) {
            if parameters(&plain(&self.shared, *width))? != [slice] {
                bail!(
                    "with --multiplier {}, no plain network has width {width}'s channels: use an integer multiplier",
                    self.shared.multiplier
                );
            }
        }
        Ok(())
    }

    /// Checks the options of `arms`. Then creates the experiment's folder, or checks that it was created with the same
    /// options.
    ///
    /// # Errors
    /// If an option is not valid or differs, or the folder cannot be written.
    pub fn begin(&self, arms: &[Arm]) -> Result<()> {
        for Arm { name, config, .. } in arms {
            let check = || config.check().and_then(|()| config.schedule(self.training_images));
            check().with_context(|| format!("arm {name} cannot be run"))?;
        }
        let subset = self.options.images.map(|images| images::balanced(&self.source, images)).transpose()?;
        self.options.save_or_check(&self.out)?;
        let Some(subset) = subset else { return Ok(()) };
        let data = &self.shared.data;
        images::write(&self.source, &subset, Path::new(data))?;
        let found = data::open(data)?.len(Split::Train);
        if found != self.training_images {
            bail!(
                "{data} holds {found} training images, not {}: remove it and run the command again",
                self.training_images
            );
        }
        Ok(())
    }

    /// Trains and evaluates `arms` one after the other, or what is left of them, and writes the tables after each.
    ///
    /// # Errors
    /// If a file cannot be written; or, after the others have run, if an arm failed.
    pub fn run(mut self, arms: &[Arm], outputs: &dyn Outputs) -> Result<ExitCode> {
        note(&format!("{} arms in {}; Ctrl-C stops, the same command resumes", arms.len(), self.out.display()));
        let (mut is_stopped, mut table) = (false, String::new());
        for (number, arm) in (1..).zip(arms) {
            note(&format!("arm {number} of {}: {}", arms.len(), arm.name));
            match self.run_arm(arm, outputs) {
                Ok(End::Done) => {}
                Ok(End::Interrupted) => is_stopped = true,
                Err(error) => {
                    let message = format!("{error:#}");
                    note(&format!("arm {} failed: {message}", arm.name));
                    self.failures.push((arm.name.clone(), message));
                }
            }
            table = outputs.write_tables(&self)?;
            if is_stopped {
                break;
            }
        }
        outputs.write_figures(&self)?;
        terminal::print(&table);
        let tables = self.out.join(tables::TABLES);
        terminal::print(&format!("results: {}", tables.display()));
        if is_stopped {
            note(&format!("stopped; resume with: {}", command_line()));
            return Ok(ExitCode::from(interrupt::EXIT_CODE));
        }
        if !self.failures.is_empty() {
            let failed: Vec<&str> = self.failures.iter().map(|(arm, _)| arm.as_str()).collect();
            bail!(
                "{} of {} arms failed: {}; see why in {}, then run the same command again",
                failed.len(),
                arms.len(),
                failed.join(", "),
                tables.display()
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Runs an arm, or what is left of it.
    fn run_arm(&self, arm: &Arm, outputs: &dyn Outputs) -> Result<End> {
        for needed in &arm.needs {
            if self.result(needed)?.is_none_or(|result| result.state != State::Done) {
                bail!("it needs arm {needed}, which has failed");
            }
        }
        let end = self.train_arm(arm)?;
        if let End::Done = end {
            let run = RunFolder::open(&self.folder(&arm.name))?;
            outputs.complete(arm, &run)?;
            recording::write(&run, &self.out)?;
        }
        Ok(end)
    }

    /// Trains and evaluates an arm, or does what is left of it.
    fn train_arm(&self, arm: &Arm) -> Result<End> {
        let (path, config, device) = (self.folder(&arm.name), arm.config.clone(), self.device());
        let (folder, lock, config, dataset, trainer) = if RunFolder::is_begun(&path) {
            let folder = RunFolder::open(&path)?;
            let instead = || "choose another folder with --out".to_owned();
            run_options::check_resumable(&folder.config()?, &config, instead)?;
            if ArmResult::read(&arm.name, &folder)?.state == State::Done {
                note(&format!("arm {} is already done", arm.name));
                return Ok(End::Done);
            }
            let lock = folder.lock()?;
            let request = Request { config, gives_data: true, accepts_changed_images: false, instead: &instead };
            let resumption = Resumption::open(folder, lock, request)?;
            let trainer = resumption.trainer(device)?;
            resumption.keep_images()?;
            let Resumption { folder, lock, config, dataset, .. } = resumption;
            (folder, lock, config, dataset, trainer)
        } else {
            let dataset = data::open_of_run(&config)?;
            let trainer = new_trainer(&config, device)?;
            let (folder, lock) = RunFolder::create(&path, &config, dataset.summary())?;
            teacher::keep(&folder, &config)?;
            (folder, lock, config, dataset, trainer)
        };
        if !arm_result::is_trained(&folder.events()?) {
            let mut loader = Loader::new(dataset, &config, Some(folder.clone()))?;
            bags::add(&mut loader, &folder, &config, device)?;
            teacher_features::add(&mut loader, &folder, &config, device)?;
            let listening = interrupt::listen(STOPPING);
            let run = Run::new(config.clone(), trainer, self.device.clone(), loader, listening);
            if train(run, (&folder, &lock), None)? {
                return Ok(End::Interrupted);
            }
        }
        evaluate_run(&folder, &config, device)?;
        Ok(End::Done)
    }

    /// Returns the result of an arm so far, unless it has not started; that of an earlier command counts.
    ///
    /// # Errors
    /// If its events cannot be read.
    pub fn result(&self, arm: &str) -> Result<Option<ArmResult>> {
        let failure = self.failures.iter().find(|(failed, _)| failed == arm);
        let result = match (RunFolder::open(&self.folder(arm)), failure) {
            (Ok(folder), _) => ArmResult::read(arm, &folder)?,
            (Err(_), Some(_)) => ArmResult::new(arm, &[]),
            (Err(_), None) => return Ok(None),
        };
        Ok(Some(match failure {
            Some((_, message)) => result.failed(message),
            None => result,
        }))
    }

    /// Returns what the tables say of how the experiment was made.
    ///
    /// # Errors
    /// If the widths are not valid.
    pub fn setting(&self) -> Result<Setting> {
        Ok(Setting {
            program: concat!("slimclr ", env!("CARGO_PKG_VERSION")),
            command: command_line(),
            network: model_card::name_of(&self.options.options.encoder()?),
            training_images: self.training_images,
            test_images: self.source.len(Split::Test),
            options: self.options.options.clone(),
        })
    }
}

/// Returns the options for a plain network with the channels of this width, trained without SlimCLR's techniques.
pub fn plain(shared: &Config, width: f64) -> Config {
    Config {
        multiplier: shared.multiplier * width,
        widths: vec![1.0],
        disjoint: false,
        slow_start: 0.0,
        distill: Distillation::None,
        reweighting: Reweighting::Equal,
        ..shared.clone()
    }
}

/// Returns the path of a file or folder in an experiment's folder, for an option.
///
/// # Errors
/// If it is not Unicode.
pub fn path_in(out: &Path, name: &str) -> Result<String> {
    let path = out.join(name);
    Ok(path.to_str().context("the path of --out is not Unicode: choose another folder")?.to_owned())
}

/// Returns this program's command line, quoted for a shell.
fn command_line() -> String {
    shell::command(std::env::args_os().skip(1))
}
