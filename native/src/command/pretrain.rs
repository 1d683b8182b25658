//! `slimclr pretrain`: trains, and goes on where a run was interrupted.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::{ArgMatches, Args};
use futures::{StreamExt, channel::mpsc, executor::block_on, pin_mut};
use slimclr_core::{
    checkpoint::Checkpoint,
    command::Command,
    config::Config,
    method::Trainer,
    train::{Run, Split},
};

use crate::{
    data::{Dataset, loader::Loader},
    device,
    options::{self, Preset},
    outcome,
    run_folder::RunFolder,
    terminal::Progress,
    trained,
};

/// How an interrupted program ends, by custom: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;

/// Flags of `slimclr pretrain`.
#[derive(Args)]
#[command(args_override_self = true)]
pub struct Pretrain {
    /// Options to begin with; the defaults shown below are those of 'cifar10'
    #[arg(long, value_enum, default_value = "cifar10", conflicts_with = "resume")]
    preset: Preset,
    /// TOML file of options, over the preset's; flags go over both
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Folder for the run [default: runs/PRESET-1, or the next free number]
    #[arg(long, value_name = "FOLDER", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "FOLDER")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    options: Config,
}

/// Trains, and writes the report.
///
/// # Errors
/// If options, data or device do not fit, or training fails.
pub fn pretrain(flags: &Pretrain, matches: &ArgMatches) -> Result<ExitCode> {
    // Whatever can fail comes before the run's folder is made.
    let (config, begun) = match &flags.resume {
        Some(path) => {
            let folder = RunFolder::open(path)?;
            let begun = folder.config()?;
            let config = options::merge(&begun, None, &flags.options, matches)?;
            options::check_resumable(&begun, &config)?;
            (config, Some(folder))
        }
        None => (options::merge(&flags.preset.config(), flags.config.as_deref(), &flags.options, matches)?, None),
    };
    let dataset = Dataset::open(&config.data)?;
    let config = config.for_classes(dataset.classes.len());
    config.schedule(dataset.len(Split::Train))?;
    let (device, device_name) = device::for_run(&config)?;
    let (state, folder) = match (begun, &flags.out) {
        (Some(folder), _) => (resumed(&folder, &config, &device)?, folder),
        (None, Some(path)) => (fresh(&config, &device)?, RunFolder::create(path, &config)?),
        (None, None) => (fresh(&config, &device)?, RunFolder::create_numbered(&flags.preset.name(), &config)?),
    };
    let loader = Loader::new(dataset, &config, Some(folder.clone()))?;
    let (commands, asked) = mpsc::unbounded();
    let run = Run::new(config, state, (device, device_name), loader, asked);
    let stopped = follow(run, &folder, commands)?;
    outcome::present(&folder, &[])?;
    if stopped {
        say_stopped(&folder);
        return Ok(ExitCode::from(INTERRUPTED));
    }
    eprintln!("next, a linear probe: slimclr evaluate {}", folder.path().display());
    Ok(ExitCode::SUCCESS)
}

/// The state at step 0: a network that has seen nothing, or with the weights that the options begin with.
///
/// # Errors
/// If the options describe no network, or the weights are not of its backbone.
pub fn fresh(config: &Config, device: &Device) -> Result<Trainer> {
    let encoder = config.encoder()?.build()?;
    if config.init.is_empty() {
        return Ok(Trainer::new(config, encoder, device));
    }
    let (other, weights) = trained::open(Path::new(&config.init))?.load(device)?;
    let [ours, theirs] = [&encoder, &other].map(|encoder| encoder.layout().widths());
    if ours.len() > 1 && theirs.len() > 1 && ours.slices() != theirs.slices() {
        bail!("{} has sub-networks of other channels: --disjoint must be as it was there", config.init);
    }
    Trainer::from_pretrained(config, encoder, &weights, device)
        .with_context(|| format!("{} has another backbone", config.init))
}

/// The state that `folder`'s run had reached, or a fresh one if it never kept a checkpoint.
///
/// # Errors
/// If the checkpoint is damaged, or of a run with other options.
pub fn resumed(folder: &RunFolder, config: &Config, device: &Device) -> Result<Trainer> {
    if !folder.has_checkpoint() {
        return fresh(config, device);
    }
    let bytes = folder.checkpoint()?;
    let checkpoint = Checkpoint::read(&bytes).with_context(|| folder.blame_checkpoint())?;
    options::check_resumable(checkpoint.config(), config)?;
    checkpoint.resume(device).with_context(|| folder.blame_checkpoint())
}

/// Trains to the end, drawing and writing the events. Returns whether it was asked to stop, be it too late to do so.
///
/// # Errors
/// If training fails, or the events cannot be written.
pub fn follow(run: Run<Loader>, folder: &RunFolder, commands: mpsc::UnboundedSender<Command>) -> Result<bool> {
    let is_told = stop_on_interrupt(commands);
    let mut log = folder.log_from(run.steps())?;
    let mut progress = Progress::new();
    block_on(async {
        let events = run.events();
        pin_mut!(events);
        while let Some(event) = events.next().await {
            let event = event?;
            log.append(&event)?;
            progress.draw(&event);
        }
        anyhow::Ok(())
    })?;
    Ok(is_told.load(Ordering::Relaxed))
}

/// Says how the stopped run of `folder` goes on.
pub fn say_stopped(folder: &RunFolder) {
    eprintln!("stopped; go on with: slimclr pretrain --resume {}", folder.path().display());
}

/// The first Ctrl-C lets the step end and keeps a checkpoint; the second, and any while no run goes on, ends the
/// program at once. Of several runs in one program it is the latest that is told. Returns whether it was told.
fn stop_on_interrupt(commands: mpsc::UnboundedSender<Command>) -> &'static AtomicBool {
    static RUN: Mutex<Option<mpsc::UnboundedSender<Command>>> = Mutex::new(None);
    static IS_TOLD: AtomicBool = AtomicBool::new(false);
    let run = || RUN.lock().expect("nothing panics while it holds the run");
    *run() = Some(commands);
    // Fails only if the handler is set already.
    let _ = ctrlc::set_handler(move || {
        let is_told = run().take().is_some_and(|commands| commands.unbounded_send(Command::Stop).is_ok());
        if !is_told {
            std::process::exit(INTERRUPTED.into());
        }
        IS_TOLD.store(true, Ordering::Relaxed);
        eprintln!("\nstopping after this step (press again to end at once)");
    });
    &IS_TOLD
}
