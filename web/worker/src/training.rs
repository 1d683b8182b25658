//! A run in this worker.

use std::{cell::RefCell, rc::Rc};

use burn::tensor::Device;
use futures::{
    StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
    future::{AbortHandle, abortable},
    pin_mut,
};
use slimclr_core::{
    checkpoint::{Checkpoint, CheckpointError},
    command::Command,
    config::{Config, ConfigError},
    encoder::Encoder,
    event::{Evaluating, Event},
    interchange::pretrained::{Pretrained, PretrainedError},
    layout::MismatchError,
    method::{self, StepOptions, Teacher, Trainer, teacher::TeacherError},
    parameter::Parameters,
    precision::is_supported,
    train::{Run, Split},
};
use slimclr_protocol::{Job, Progress, Report};
use thiserror::Error;
use wasm_bindgen_futures::spawn_local;

use crate::{
    browser::{milliseconds, report, report_failure, report_with},
    device::ComputeDevice,
    host::{BrowserHost, SavedFiles},
    images::Dataset,
    pairs::report_pairs,
};

/// Fewest milliseconds between comparisons of views, which small networks would spend much of their time with.
const PAIRS_EVERY: f64 = 2000.0;

/// Why a run cannot start.
#[derive(Debug, Error)]
pub enum TrainingError {
    /// The options are invalid, or do not fit the images.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The checkpoint cannot be read.
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is of another network.
    #[error("the checkpoint is of another network: {0}")]
    Mismatch(#[from] MismatchError),
    /// The teacher's file is not a trained network.
    #[error(transparent)]
    TeacherFile(#[from] PretrainedError),
    /// The teacher does not fit the method.
    #[error("{0} cannot be the teacher: {1}")]
    Teacher(String, #[source] TeacherError),
    /// The device does not support the precision.
    #[error("{0} does not support this precision: set precision=f32 in the page's address")]
    Precision(String),
}

/// The files that a run starts with.
#[derive(Default)]
pub struct StartFiles {
    /// That of the teacher, if the options name one.
    pub teacher: Option<Vec<u8>>,
    /// The checkpoint to train from.
    pub checkpoint: Option<Vec<u8>>,
}

/// A run, active or finished. Dropping it ends the run.
pub struct Training {
    /// Its images.
    pub dataset: Rc<Dataset>,
    /// Its teacher, if it has one.
    pub teacher: Option<Teacher>,
    /// The files it has saved.
    pub saved: Rc<RefCell<SavedFiles>>,
    config: RefCell<Config>,
    commands: UnboundedSender<Command>,
    task: AbortHandle,
}

impl Drop for Training {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Training {
    /// Starts training, from scratch or from a checkpoint, and reports every event.
    ///
    /// # Errors
    /// If options, files and images do not fit.
    pub fn start(
        device: &ComputeDevice,
        dataset: Rc<Dataset>,
        config: Config,
        files: StartFiles,
        paused: bool,
    ) -> Result<Self, TrainingError> {
        let config = config.for_classes(dataset.summary.classes.len())?;
        config.check()?;
        config.schedule(dataset.len(Split::Train))?;
        if !is_supported(config.precision, &device.burn) {
            return Err(TrainingError::Precision(device.name.clone()));
        }
        let teacher = files.teacher.map(|bytes| read_teacher(&config, bytes, &device.burn)).transpose()?;
        let state = match files.checkpoint {
            Some(bytes) => resume(&config, &bytes, teacher.clone(), &device.burn)?,
            None => {
                let encoder = build_encoder(&config)?;
                let query = Parameters::init(encoder.layout().clone(), config.seed, &device.burn);
                trainer(&config, encoder, query, teacher.clone())
            }
        };
        let saved = Rc::<RefCell<SavedFiles>>::default();
        let (commands, inbox) = unbounded();
        if paused {
            commands.unbounded_send(Command::Pause).expect("the receiver is in scope");
        }
        let host = BrowserHost::new(dataset.clone(), &config, saved.clone());
        let run = Run::new(config.clone(), state, (device.burn.clone(), device.name.clone()), host, inbox);
        let (task, handle) = abortable(report_events(run, dataset.clone(), device.burn.clone(), saved.clone()));
        spawn_local(async {
            // The error says that the run was dropped, which needs no report.
            let _ = task.await;
        });
        Ok(Self { dataset, teacher, saved, config: RefCell::new(config), commands, task: handle })
    }

    /// Sends a command to the run.
    ///
    /// # Errors
    /// If the run cannot change to the new options; it then continues with the old ones.
    pub fn send(&self, command: Command) -> Result<(), ConfigError> {
        if let Command::Change(config) = &command {
            self.config.borrow().check_change(config)?;
            self.config.replace((**config).clone());
        }
        // Fails only after the run has ended.
        let _ = self.commands.unbounded_send(command);
        Ok(())
    }
}

/// Restores the state of a checkpoint. If its method or network size differs from `config`, loads only its backbone.
fn resume(config: &Config, bytes: &[u8], teacher: Option<Teacher>, device: &Device) -> Result<Trainer, TrainingError> {
    let checkpoint = Checkpoint::read(bytes)?;
    if checkpoint.config().check_change(config).is_ok() {
        let state = checkpoint.resume(device, teacher)?;
        return Ok(Trainer { options: StepOptions::new(config, state.encoder.layout().widths()), ..state });
    }
    let weights = checkpoint.query(&checkpoint.encoder()?, device)?;
    let encoder = build_encoder(config)?;
    let (query, _) = Parameters::started_from(&weights, encoder.layout().clone(), config.seed, device)?;
    Ok(Trainer { steps: checkpoint.step(), ..trainer(config, encoder, query, teacher) })
}

/// Creates a trainer at step 0.
fn trainer(config: &Config, encoder: Encoder, query: Parameters, teacher: Option<Teacher>) -> Trainer {
    let method = method::from_config(config, &encoder, teacher, &query.device());
    Trainer::with_method(config, method, encoder, query)
}

/// Reads the teacher that `config` names.
fn read_teacher(config: &Config, bytes: Vec<u8>, device: &Device) -> Result<Teacher, TrainingError> {
    let trained = Pretrained::read(&config.teacher, bytes)?;
    let of_run = Teacher::new(config, &trained.config, trained.load(device)?);
    of_run.map_err(|error| TrainingError::Teacher(config.teacher.clone(), error))
}

fn build_encoder(config: &Config) -> Result<Encoder, ConfigError> {
    Ok(config.encoder()?.build()?)
}

/// Trains to the end and reports every event.
async fn report_events(run: Run<BrowserHost>, dataset: Rc<Dataset>, device: Device, saved: Rc<RefCell<SavedFiles>>) {
    let events = run.events();
    pin_mut!(events);
    let mut compared_at = f64::NEG_INFINITY;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Evaluating(Evaluating { step, images, of })) => {
                let network = if step == 0 { "the initial network" } else { "the network" };
                let progress = Progress { what: format!("evaluating {network}"), done: images, total: of };
                report(&Report::Progress(progress));
            }
            Ok(Event::Checkpoint { step }) => {
                let checkpoint = saved.borrow().checkpoint.clone().unwrap_or_default();
                report_with(&Report::Checkpoint { step }, &[&checkpoint]);
                report(&Report::Event(Box::new(Event::Checkpoint { step })));
                if milliseconds() - compared_at > PAIRS_EVERY {
                    compared_at = milliseconds();
                    if let Err(error) = report_pairs(&dataset, &device, (step, checkpoint)).await {
                        report_failure(Job::Train, error);
                    }
                }
            }
            Ok(event) => report(&Report::Event(Box::new(event))),
            Err(error) => report_failure(Job::Train, error),
        }
    }
}
