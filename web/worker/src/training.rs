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
    event::Event,
    layout::MismatchError,
    method::{Objective, Trainer},
    train::{Run, Split},
};
use slimclr_protocol::{Report, Task};
use thiserror::Error;
use wasm_bindgen_futures::spawn_local;

use crate::{
    browser::{failed, report, report_with},
    images::{Dataset, Hearth, Kept},
    seat::Seat,
};

/// Why a run cannot begin.
#[derive(Debug, Error)]
pub enum TrainingError {
    /// Options that no run can have, or not on these images.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A checkpoint that is none.
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint of another network.
    #[error("the checkpoint is of another network: {0}")]
    Mismatch(#[from] MismatchError),
    /// Options of another precision than the device has.
    #[error("{0} does not compute in this precision: choose 32 bits")]
    Precision(String),
}

/// A run that goes on, or has ended. Dropped, it ends at once.
pub struct Training {
    /// Its images.
    pub dataset: Rc<Dataset>,
    /// What it has kept.
    pub kept: Rc<RefCell<Kept>>,
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
    /// Begins to train from scratch, or from a checkpoint's state, and reports all that happens.
    ///
    /// # Errors
    /// If options, checkpoint and images do not fit.
    pub fn begin(
        seat: &Seat,
        dataset: Rc<Dataset>,
        config: Config,
        checkpoint: Option<&[u8]>,
        paused: bool,
    ) -> Result<Self, TrainingError> {
        let config = config.for_classes(dataset.classes.len());
        config.check()?;
        config.schedule(dataset.len(Split::Train))?;
        if !config.precision.is_supported_by(&seat.device) {
            return Err(TrainingError::Precision(seat.name.clone()));
        }
        let state = match checkpoint {
            Some(bytes) => continued(&config, bytes, &seat.device)?,
            None => Trainer::new(&config, built(&config)?, &seat.device),
        };
        let kept = Rc::<RefCell<Kept>>::default();
        let (commands, asked) = unbounded();
        if paused {
            commands.unbounded_send(Command::Pause).expect("the run listens");
        }
        let hearth = Hearth::new(dataset.clone(), &config, kept.clone());
        let run = Run::new(config.clone(), state, (seat.device.clone(), seat.name.clone()), hearth, asked);
        let (task, handle) = abortable(follow(run, kept.clone()));
        spawn_local(async {
            // It ends by itself, or is dropped and aborted.
            let _ = task.await;
        });
        Ok(Self { dataset, kept, config: RefCell::new(config), commands, task: handle })
    }

    /// Asks something of the run.
    ///
    /// # Errors
    /// If it is a change that the run cannot make; it goes on as it was.
    pub fn steer(&self, command: Command) -> Result<(), ConfigError> {
        if let Command::Change(config) = &command {
            self.config.borrow().check_change(config)?;
            self.config.replace((**config).clone());
        }
        // A run that has ended hears nothing.
        let _ = self.commands.unbounded_send(command);
        Ok(())
    }
}

/// The state that a checkpoint has reached; of a run with another method or other numbers, its backbone alone.
fn continued(config: &Config, bytes: &[u8], device: &Device) -> Result<Trainer, TrainingError> {
    let checkpoint = Checkpoint::read(bytes)?;
    if checkpoint.config().check_change(config).is_ok() {
        let state = checkpoint.resume(device)?;
        return Ok(Trainer { recipe: Objective::new(config, state.encoder.layout().widths()), ..state });
    }
    let weights = checkpoint.query(&checkpoint.encoder()?, device)?;
    Ok(Trainer { steps: checkpoint.step(), ..Trainer::from_pretrained(config, built(config)?, &weights, device)? })
}

fn built(config: &Config) -> Result<Encoder, ConfigError> {
    Ok(config.encoder()?.build()?)
}

/// Trains to the end and reports what happens.
async fn follow(run: Run<Hearth>, kept: Rc<RefCell<Kept>>) {
    let events = run.events();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if let (Event::Checkpoint { step }, Some(bytes)) = (&event, &kept.borrow().checkpoint) {
                    report_with(&Report::Checkpoint { step: *step }, &[bytes]);
                }
                report(&Report::Event(event));
            }
            Err(error) => failed(Task::Train, error),
        }
    }
}
