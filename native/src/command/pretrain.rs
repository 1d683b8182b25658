//! `slimclr pretrain`: trains a new run, or resumes one.

mod dry_run;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use burn::tensor::Device;
use clap::{ArgMatches, Args, parser::ValueSource};
use futures::{StreamExt, executor::block_on, pin_mut};
use slimclr_core::{
    config::Config,
    event::{Event, Started},
    kernel::ranks::Ranks,
    method::Trainer,
    train::{Run, Split},
};

use crate::{
    bags,
    data::{self, Dataset, loader::Loader},
    device, interrupt,
    new_trainer::new_trainer,
    options::{self, Preset},
    pretrained, ranks,
    resume::{Request, Resumption},
    run_folder::RunFolder,
    run_lock::RunLock,
    run_progress::RunProgress,
    shell, summary, teacher, teacher_features,
    tensorboard::{self, TensorBoard},
    terminal::{self},
};

/// What is said when a run is interrupted.
pub const STOPPING: &str = "stopping, with a checkpoint; press Ctrl-C again to exit at once, without a checkpoint";

/// Flags of `slimclr pretrain`.
#[derive(Args)]
#[command(args_override_self = true)]
#[command(mut_arg("data", |data| data.help_heading(None::<&str>)))]
#[command(mut_arg("device", |device| device.help_heading(None::<&str>)))]
pub struct PretrainFlags {
    /// Preset to start from; the defaults shown below are those of 'cifar10'
    #[arg(long, value_enum, default_value = "cifar10", conflicts_with = "resume")]
    preset: Preset,
    /// TOML file of options; overrides the preset, and flags override it
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Folder for the run [default: runs/PRESET-1, or the next free number]
    #[arg(long, value_name = "FOLDER", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Resume the run in this folder
    #[arg(long, value_name = "FOLDER")]
    resume: Option<PathBuf>,
    /// Write files for TensorBoard to this folder [default: 'tensorboard' in the run's folder]. A resumed run continues
    /// those in its own folder without this flag
    #[arg(long, value_name = "FOLDER", num_args = 0..=1)]
    tensorboard: Option<Option<PathBuf>>,
    /// Print the plan of a new run, estimate its time and memory from a few steps, and write nothing
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// Resume although the images have changed; steps per epoch and the schedule stay as planned
    #[arg(long, requires = "resume", conflicts_with_all = ["preset", "config", "out", "dry_run"])]
    accept_changed_images: bool,
    #[command(flatten)]
    options: Config,
}

/// Trains, prints a table and writes the report.
///
/// # Errors
/// If options, data or device are invalid, or training fails.
pub fn run(flags: &PretrainFlags, matches: &ArgMatches) -> Result<ExitCode> {
    let prepared = match &flags.resume {
        Some(path) => prepare_resumption(path, flags, matches)?,
        None => {
            let config = options::merge(&flags.preset.config(), flags.config.as_deref(), &flags.options, matches)?;
            if flags.dry_run {
                ranks::check_alone("pretrain --dry-run")?;
            }
            let new = NewRun::open(config)?;
            if flags.dry_run {
                return dry_run::run(new).map(|()| ExitCode::SUCCESS);
            }
            flags.tensorboard_path().map(tensorboard::create).transpose()?;
            new.create(flags.out.as_deref(), &flags.preset.name())?
        }
    };
    let tensorboard = flags.open_tensorboard((&prepared.folder, &prepared.lock), prepared.trainer.steps)?;
    prepared.train(tensorboard, "next, evaluate its features: slimclr evaluate RUN")
}

impl PretrainFlags {
    /// Returns the folder that is named for TensorBoard's files.
    fn tensorboard_path(&self) -> Option<&Path> {
        self.tensorboard.as_ref()?.as_deref()
    }

    /// Opens TensorBoard's files, if they are wanted or the run has them, to be continued after `step` steps.
    fn open_tensorboard(&self, (folder, lock): (&RunFolder, &RunLock), step: u64) -> Result<Option<TensorBoard>> {
        if !ranks::is_first() {
            return Ok(None);
        }
        let default = folder.tensorboard_path();
        let path = match self.tensorboard_path() {
            Some(path) => path,
            None if self.tensorboard.is_some() || default.is_dir() => &default,
            None => return Ok(None),
        };
        TensorBoard::open(path, folder, step, lock).map(Some)
    }
}

/// A run that only this process trains, before its next step.
pub struct Prepared {
    folder: RunFolder,
    lock: RunLock,
    config: Config,
    dataset: Dataset,
    /// The device and its name.
    device: (Device, String),
    trainer: Trainer,
}

impl Prepared {
    /// Trains, prints a table and writes the report and TensorBoard's files. Then prints `next`, in which RUN stands for
    /// the run's folder.
    ///
    /// # Errors
    /// If training fails.
    pub fn train(self, mut tensorboard: Option<TensorBoard>, next: &str) -> Result<ExitCode> {
        let Self { folder, lock, config, dataset, device, trainer } = self;
        let trainer = Trainer { ranks: ranks::ranks(), ..trainer };
        let mut loader = Loader::new(dataset, &config, Some(folder.clone()))?;
        ranks::first_then_others(|| {
            bags::add(&mut loader, &folder, &config, &device.0)?;
            teacher_features::add(&mut loader, &folder, &config, &device.0)
        })?;
        if let Some(board) = tensorboard.as_mut().filter(|board| board.is_new()) {
            board.write_views(&loader)?;
        }
        let run = Run::new(config.clone(), trainer, device.clone(), loader, interrupt::listen(STOPPING));
        let interrupted = train(run, (&folder, &lock), tensorboard.as_mut())?;
        if ranks::is_first() {
            summary::show(&folder, &[])?;
        }
        if let Some(board) = tensorboard.filter(|_| !interrupted) {
            board.write_embeddings(&folder, &config, &device.0)?;
        }
        if interrupted {
            print_resume_hint(&folder);
            return Ok(ExitCode::from(interrupt::EXIT_CODE));
        }
        terminal::note(&next.replace("RUN", &shell::path(folder.path())));
        Ok(ExitCode::SUCCESS)
    }
}

/// A run that has no folder yet.
pub struct NewRun {
    config: Config,
    dataset: Dataset,
    /// The device and its name.
    device: (Device, String),
    trainer: Trainer,
}

impl NewRun {
    /// Opens everything that the run needs.
    ///
    /// # Errors
    /// If options, data or device are invalid.
    pub fn open(config: Config) -> Result<Self> {
        let dataset = open_images(&config)?;
        let config = config.for_classes(dataset.summary().classes.len())?;
        config.schedule(dataset.len(Split::Train))?;
        config.check_ranks(ranks::ranks().count())?;
        bags::check(&dataset, &config)?;
        let (config, device) = device::for_run(config)?;
        let trainer = new_trainer(&config, &device.0)?;
        Ok(Self { config, dataset, device, trainer })
    }

    /// Creates the run's folder: `out`, or the next free one of this `name`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(self, out: Option<&Path>, name: &str) -> Result<Prepared> {
        let Self { config, dataset, device, trainer } = self;
        let ranks = ranks::ranks();
        let (folder, lock) = match out {
            _ if ranks.rank() > 0 => follow(&ranks)?,
            Some(path) => RunFolder::create(path, &config, dataset.summary())?,
            None => RunFolder::create_numbered(name, &config, dataset.summary())?,
        };
        teacher::keep(&folder, &config)?;
        if ranks.rank() == 0 {
            ranks.broadcast(folder.path().as_os_str().as_encoded_bytes().to_vec());
        }
        Ok(Prepared { folder, lock, config, dataset, device, trainer })
    }
}

/// Opens the folder that rank 0 has created.
fn follow(ranks: &Ranks) -> Result<(RunFolder, RunLock)> {
    let path = String::from_utf8(ranks.broadcast(Vec::new())).context("the path of the run's folder is not Unicode")?;
    let folder = RunFolder::open(Path::new(&path)).context("all processes need the run's folder: share it")?;
    Ok((folder, RunLock::of_other_rank()))
}

/// Prepares the run in the folder `path` to continue. What the folder keeps is changed last.
fn prepare_resumption(path: &Path, flags: &PretrainFlags, matches: &ArgMatches) -> Result<Prepared> {
    let folder = RunFolder::open(path)?;
    let lock = folder.lock()?;
    let started = folder.config()?;
    let config = options::merge(&started, None, &flags.options, matches)?;
    let new_run =
        folder.new_run_command(folder.checkpoint_path().is_file().then_some(path), options::given(matches)?)?;
    let instead = || format!("A new run can start from its weights: {new_run}");
    options::check_resumable(&started, &config, instead)?;
    let request = Request {
        config,
        gives_data: matches.value_source("data") == Some(ValueSource::CommandLine),
        accepts_changed_images: flags.accept_changed_images,
        instead: &instead,
    };
    let resumption = Resumption::open(folder, lock, request)?;
    let count = ranks::ranks().count();
    resumption.config.check_ranks(count)?;
    if let Some(note) = Event::latest_start(&resumption.folder.events()?).and_then(|start| other_ranks(start, count)) {
        terminal::note(&note);
    }
    let (_, device) = device::for_run(resumption.config.clone())?;
    let trainer = resumption.trainer(&device.0)?;
    resumption.keep_images()?;
    let Resumption { folder, lock, config, dataset, .. } = resumption;
    Ok(Prepared { folder, lock, config, dataset, device, trainer })
}

/// Opens the images of a new run. If it starts from a trained network, they are normalised as that network's images were,
/// because its weights fit them.
///
/// # Errors
/// If there are none, or it is not known how the network's images were normalised.
fn open_images(config: &Config) -> Result<Dataset> {
    let dataset = data::open_of_run(config)?;
    if config.init.is_empty() {
        return Ok(dataset);
    }
    let path = Path::new(&config.init);
    let normalisation = pretrained::normalisation(path, &pretrained::read(path)?)?;
    if normalisation != dataset.summary().normalisation {
        terminal::note(&format!("the images are normalised with mean and deviation of those of {}", config.init));
    }
    Ok(dataset.normalised_by(normalisation))
}

/// Says that a run resumes on another number of processes than it was started on, and what that changes.
fn other_ranks(start: &Started, now: usize) -> Option<String> {
    let processes = |count: usize| if count == 1 { "one process".into() } else { format!("{count} processes") };
    let (before, changed) = (processes(start.ranks), start.ranks != now);
    let norms = if start.config.sync_bn { "" } else { "; its batch norm now sees another number of images at once" };
    changed.then(|| format!("the run was trained by {before}, and continues on {}{norms}", processes(now)))
}

/// Trains until the run ends or is stopped, showing its events and appending them to the log and to TensorBoard's files,
/// if there are any. Returns whether it was interrupted, even if it finished first.
///
/// # Errors
/// If training fails, or the events cannot be written.
pub fn train(
    mut run: Run<Loader>,
    (folder, lock): (&RunFolder, &RunLock),
    mut tensorboard: Option<&mut TensorBoard>,
) -> Result<bool> {
    let ranks = ranks::ranks();
    let mut log = ranks::is_first().then(|| folder.log_from(run.steps(), lock)).transpose()?;
    let lacks_evaluation = ranks::is_first() && !folder.has_evaluation(run.steps())?;
    if ranks.agree(lacks_evaluation.into()) == 1 {
        run = run.evaluating_first();
    }
    let (mut progress, mut interrupted) = (RunProgress::new(), false);
    block_on(async {
        let events = run.events();
        pin_mut!(events);
        while let Some(event) = events.next().await {
            let event = event?;
            interrupted |= matches!(event, Event::Stopped { .. });
            if let Some(log) = log.as_mut().filter(|_| event.is_logged()) {
                log.append(&event)?;
            }
            if let Some(board) = &mut tensorboard {
                board.write(&event)?;
            }
            progress.draw(&event);
        }
        anyhow::Ok(())
    })?;
    Ok(interrupted || interrupt::has_stopped())
}

/// Prints the command that resumes the run in `folder`.
pub fn print_resume_hint(folder: &RunFolder) {
    terminal::note(&format!("stopped; resume with: slimclr pretrain --resume {}", shell::path(folder.path())));
}
