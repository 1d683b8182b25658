//! The only training loop: a stream of events, for a terminal, a page or a file to draw.
//!
//! A [`Home`] gives the loop its images, a clock and a place for checkpoints; the native program is
//! one, the browser's worker another.

use std::mem;

use async_fn_stream::{TryStreamEmitter, try_fn_stream};
use burn::tensor::{Device, ExecutionError, Tensor, TensorData};
use futures::{StreamExt, channel::mpsc::UnboundedReceiver, stream::Stream};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    augment::Normalisation,
    checkpoint::{self, CheckpointError, Snapshot},
    config::{Config, ConfigError, Timetable},
    eval::{
        features::{Extractor, Features, Labelled},
        knn::knn,
        rankme::rankme,
    },
    event::{Evaluated, Event, Interference, Started, Step},
    interference::{Observer, direction::LastGradients},
    method::{Batch, Plan, Recipe, Trainer},
    profile::profile,
};

/// Seconds between reads of the device: each makes it wait, but nobody watches more often.
const READ_EVERY: f64 = 0.25;

/// Most measurements of interference in a whole run, and most snapshots: as many as a plot can show.
const MEASUREMENTS: u64 = 200;

/// Which labelled images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// The training images; their labels serve evaluation only, unless the method is supervised.
    Train,
    /// Images that training never sees.
    Test,
}

/// What the loop needs from where it runs.
#[allow(async_fn_in_trait, reason = "the loop and its home live on one thread")]
pub trait Home {
    /// Why images or checkpoints fail, in words for the user.
    type Error: std::error::Error + 'static;

    /// Training images.
    fn images(&self) -> usize;

    /// What the channels of all images are normalised with.
    fn normalisation(&self) -> Normalisation;

    /// Seconds since any fixed moment.
    fn now(&self) -> f64;

    /// The batch of `step` on `device`, where a run asks for all its batches.
    async fn batch(&mut self, step: u64, device: &Device) -> Result<Batch, Self::Error>;

    /// The labelled images of a split, in chunks of any size, numbered from 0; none past the last.
    async fn labelled(&mut self, split: Split, chunk: usize) -> Result<Option<Labelled>, Self::Error>;

    /// Keeps a file of the run.
    async fn keep(&mut self, what: Keepsake, file: Vec<u8>) -> Result<(), Self::Error>;

    /// The file of gradients kept after so many steps, if there is one.
    async fn gradients(&mut self, step: u64) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// What a run keeps, as safetensors files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepsake {
    /// The whole state, in place of the one before ([`checkpoint::save`]).
    Checkpoint,
    /// The encoder's parameters after so many steps, beside those before ([`Snapshot`](checkpoint::Snapshot)).
    Snapshot(u64),
    /// The last layers' gradients of the latest of so many steps, beside those before
    /// ([`LastGradients`](crate::interference::direction::LastGradients)).
    Gradients(u64),
}

/// A batch on the host.
#[derive(Debug, Clone)]
pub struct Views {
    /// As many views of every image as the method looks at, `[batch, 3, size, size]` each.
    pub pixels: Vec<Vec<f32>>,
    /// The class of each image.
    pub labels: Vec<u32>,
}

impl Views {
    /// The same batch, of views `size` pixels wide, on a device.
    pub fn to_device(self, size: usize, device: &Device) -> Batch {
        let images = self.labels.len();
        let on_device = |view| Tensor::from_data(TensorData::new(view, [images, 3, size, size]), device);
        Batch {
            views: self.pixels.into_iter().map(on_device).collect(),
            labels: Tensor::from_data(TensorData::new(self.labels, [images]), device),
        }
    }
}

/// What may be asked of a run while it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Wait before the next step.
    Pause,
    /// Go on.
    Resume,
    /// Take one step, then wait again.
    SingleStep,
    /// Go on with other options, which [`Config::check_change`] allows; paused or not, as before.
    Change(Box<Config>),
    /// Write a checkpoint and end.
    Stop,
}

/// Why a run ends before its time.
#[derive(Debug, Error)]
pub enum TrainError<E: std::error::Error + 'static> {
    /// Images or checkpoints failed.
    #[error(transparent)]
    Home(E),
    /// Nothing to evaluate on.
    #[error("none of the {0:?} images can be decoded, so there is nothing to evaluate: check the data folder")]
    NoImages(Split),
    /// The options do not fit the data.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The device failed.
    #[error("the device failed: {0}; a checkpoint kept before stands")]
    Device(#[from] ExecutionError),
    /// The state could not be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No scale keeps the gradients within 16 bits.
    #[error(
        "gradients overflow in f16 however the loss is scaled, so no step is taken any more; a checkpoint kept before \
         stands. Use --precision bf16 or f32"
    )]
    Overflow,
    /// A loss is no number any more.
    #[error(
        "the loss of width {width} is {loss} at step {step}: training has diverged; a checkpoint kept before stands. \
         Try a lower learning_rate or a longer warmup"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// The width.
        width: f64,
        /// What its loss was.
        loss: f64,
    },
}

/// A run about to begin, or to go on.
pub struct Run<H: Home> {
    config: Config,
    state: Trainer,
    device: Device,
    device_name: String,
    home: H,
    /// Nothing is asked once the sender is dropped.
    commands: UnboundedReceiver<Command>,
    paused: bool,
    latest_batch: Option<Batch>,
    /// Steps that the latest checkpoint had taken.
    kept_at: u64,
}

/// A command that ends the course of steps, for good or for a moment.
enum Asked {
    Change(Box<Config>),
    Stop,
}

type Emitter<E> = TryStreamEmitter<Event, TrainError<E>>;

impl<H: Home> Run<H> {
    /// A run of `state` with `config`'s options on `device`, which `device_name` describes.
    pub fn new(
        config: Config,
        state: Trainer,
        (device, device_name): (Device, String),
        home: H,
        commands: UnboundedReceiver<Command>,
    ) -> Self {
        let kept_at = state.steps;
        Self { config, state, device, device_name, home, commands, paused: false, latest_batch: None, kept_at }
    }

    /// Steps taken before: 0, or a checkpoint's.
    pub fn steps(&self) -> u64 {
        self.state.steps
    }

    /// Trains to the end, or until it is stopped. Nothing happens until the stream is polled.
    pub fn events(mut self) -> impl Stream<Item = Result<Event, TrainError<H::Error>>> {
        try_fn_stream(|emitter| async move { self.train(&emitter).await })
    }

    async fn train(&mut self, emitter: &Emitter<H::Error>) -> Result<(), TrainError<H::Error>> {
        let mut timetable = self.config.timetable(self.home.images())?;
        let began = self.home.now();
        let measure_every = timetable.steps.div_ceil(MEASUREMENTS);
        let snapshot_every =
            timetable.steps_per_epoch * timetable.steps.div_ceil(timetable.steps_per_epoch * MEASUREMENTS);
        let observer = self.config.interference.then(|| Observer::new(&self.state.encoder));
        emitter.emit(Event::Started(Box::new(self.started(&timetable)))).await;
        let mut untrained = (self.state.steps == 0).then(|| self.state.clone());
        let mut log = Log::new(self.home.now());
        while self.state.steps < timetable.steps {
            match self.asked(&mut log, &timetable, emitter).await? {
                None => {}
                Some(Asked::Change(config)) => {
                    self.flush(&mut log, &timetable, emitter).await?;
                    self.change(*config, emitter).await?;
                    timetable = self.config.timetable(self.home.images())?;
                    continue;
                }
                Some(Asked::Stop) => {
                    self.flush(&mut log, &timetable, emitter).await?;
                    self.checkpoint(emitter).await?;
                    emitter.emit(Event::Stopped { step: self.state.steps }).await;
                    return Ok(());
                }
            }

            let step = self.state.steps;
            let epoch = timetable.epoch(step);
            let measures = observer.is_some() && step.is_multiple_of(measure_every);
            let plan = Plan { keeps_widths: measures, ..timetable.plan(step) };
            let batch = self.batch(step).await?;
            self.latest_batch = Some(batch.clone());
            let outcome = self.state.step(batch, plan);
            log.steps.push(Pending { step, rate: plan.rate, losses: outcome.losses.clone() });

            let done = self.state.steps;
            let at_end = done == timetable.steps;
            // Shortly before the end, the evaluation at the end is near enough.
            let left = timetable.steps - done;
            let evaluates =
                at_end || done.is_multiple_of(timetable.evaluate_every) && left > timetable.evaluate_every / 2;
            let saves = at_end || done.is_multiple_of(timetable.checkpoint_every);
            let keeps = observer.is_some() && (at_end || done.is_multiple_of(snapshot_every));
            let pauses = evaluates || saves || measures || keeps || untrained.is_some();
            if pauses || self.home.now() - log.read_at > READ_EVERY {
                self.flush(&mut log, &timetable, emitter).await?;
            }
            // Not before the first step, whose loss people wait for, and which may be more than the machine can do.
            if let Some(untrained) = untrained.take() {
                let trained = mem::replace(&mut self.state, untrained);
                self.evaluate(&timetable, emitter).await?;
                self.snapshot().await?;
                self.state = trained;
            }
            if let Some(observer) = observer.as_ref().filter(|_| measures) {
                let seen = observer.observe(&self.state.encoder, &outcome, (done, epoch)).await?;
                self.report(seen, done, measure_every, emitter).await?;
            }
            if keeps {
                self.snapshot().await?;
            }
            // The checkpoint comes last: a run killed before it repeats the evaluation.
            if evaluates {
                self.evaluate(&timetable, emitter).await?;
            }
            if saves {
                self.checkpoint(emitter).await?;
            }
            if pauses {
                log.read_at = self.home.now();
            }
        }
        let seconds = self.home.now() - began;
        emitter.emit(Event::Finished { step: self.state.steps, seconds }).await;
        Ok(())
    }

    fn started(&self, timetable: &Timetable) -> Started {
        Started {
            config: self.config.clone(),
            device: self.device_name.clone(),
            images: self.home.images(),
            normalisation: Some(self.home.normalisation()),
            step: self.state.steps,
            steps: timetable.steps,
            steps_per_epoch: timetable.steps_per_epoch,
            slow_start_step: timetable.slow_start,
            profile: profile(&self.state.encoder, self.config.image_size),
        }
    }

    /// What was asked since the last step beyond waiting, which is done here; none if a step is to be taken. Whoever waits
    /// has seen all steps so far, and has a checkpoint of them.
    async fn asked(
        &mut self,
        log: &mut Log,
        timetable: &Timetable,
        emitter: &Emitter<H::Error>,
    ) -> Result<Option<Asked>, TrainError<H::Error>> {
        loop {
            let command = if self.paused {
                self.flush(log, timetable, emitter).await?;
                if self.state.steps > self.kept_at {
                    self.checkpoint(emitter).await?;
                }
                let command = self.commands.next().await;
                log.read_at = self.home.now();
                command
            } else {
                self.commands.try_recv().ok()
            };
            match command {
                Some(Command::Pause) => self.paused = true,
                Some(Command::Resume) => self.paused = false,
                Some(Command::Change(config)) => return Ok(Some(Asked::Change(config))),
                Some(Command::Stop) => return Ok(Some(Asked::Stop)),
                Some(Command::SingleStep) => {
                    self.paused = true;
                    return Ok(None);
                }
                None => {
                    self.paused = false;
                    return Ok(None);
                }
            }
        }
    }

    /// Goes on with other options.
    async fn change(&mut self, config: Config, emitter: &Emitter<H::Error>) -> Result<(), TrainError<H::Error>> {
        self.config.check_change(&config)?;
        self.state.recipe = Recipe::new(&config, self.state.encoder.layout().widths());
        self.config = config;
        let event = Event::Changed { step: self.state.steps, config: Box::new(self.config.clone()) };
        emitter.emit(event).await;
        Ok(())
    }

    async fn batch(&mut self, step: u64) -> Result<Batch, TrainError<H::Error>> {
        self.home.batch(step, &self.device).await.map_err(TrainError::Home)
    }

    /// Reads the losses of the steps since the last read, and reports them.
    async fn flush(
        &self,
        log: &mut Log,
        timetable: &Timetable,
        emitter: &Emitter<H::Error>,
    ) -> Result<(), TrainError<H::Error>> {
        let pending = std::mem::take(&mut log.steps);
        if pending.is_empty() {
            return Ok(());
        }
        let losses = pending.iter().flat_map(|step| step.losses.clone()).collect();
        let losses: Vec<f64> = Tensor::<1>::cat(losses, 0).into_data_async().await?.iter().collect();
        let mut losses = losses.into_iter();
        let now = self.home.now();
        let images = (pending.len() * self.config.batch) as f64;
        // A browser's clock may be too coarse to tell two reads apart.
        let images_per_second = images / (now - log.read_at).max(1e-3);
        log.read_at = now;
        let widths = &self.config.widths;
        for Pending { step, rate, losses: trained } in pending {
            let mut of_step: Vec<f64> = losses.by_ref().take(trained.len()).collect();
            self.check_finite(step + 1, &of_step)?;
            of_step.resize(widths.len(), 0.0);
            let event = Step {
                step: step + 1,
                epoch: timetable.epoch(step),
                loss: of_step.iter().sum(),
                losses: of_step,
                learning_rate: rate,
                images_per_second,
            };
            emitter.emit(Event::Step(event)).await;
        }
        Ok(())
    }

    /// An error if one of the widths' losses at `step` is no number any more.
    fn check_finite(&self, step: u64, losses: &[f64]) -> Result<(), TrainError<H::Error>> {
        match losses.iter().zip(&self.config.widths).find(|(loss, _)| !loss.is_finite()) {
            Some((loss, width)) => Err(TrainError::Diverged { step, width: *width, loss: *loss }),
            None => Ok(()),
        }
    }

    /// Keeps a checkpoint, after a trial step of a copy: the latest losses are of the weights before the latest
    /// update, which may have ruined them.
    async fn checkpoint(&mut self, emitter: &Emitter<H::Error>) -> Result<(), TrainError<H::Error>> {
        if let Some(batch) = self.latest_batch.clone() {
            let plan = Plan { slim: true, rate: 0.0, key_momentum: 1.0, keeps_widths: false };
            let losses = self.state.clone().step(batch, plan).losses;
            let losses: Vec<f64> = Tensor::<1>::cat(losses, 0).into_data_async().await?.iter().collect();
            self.check_finite(self.state.steps + 1, &losses)?;
        }
        if let Some(scale) = &self.state.loss_scale
            && scale.is_exhausted().await?
        {
            return Err(TrainError::Overflow);
        }
        let bytes = checkpoint::save(&self.state, &self.config, self.home.normalisation()).await?;
        self.home.keep(Keepsake::Checkpoint, bytes).await.map_err(TrainError::Home)?;
        self.kept_at = self.state.steps;
        emitter.emit(Event::Checkpoint { step: self.state.steps }).await;
        Ok(())
    }

    /// Keeps the encoder as it is, where interference is measured.
    async fn snapshot(&mut self) -> Result<(), TrainError<H::Error>> {
        if self.config.interference {
            let snapshot = Snapshot::save(&self.state, &self.config).await?;
            let what = Keepsake::Snapshot(self.state.steps);
            self.home.keep(what, snapshot).await.map_err(TrainError::Home)?;
        }
        Ok(())
    }

    /// Reports what was measured in the latest step, if anything was, and relates it to what was measured `every` so many
    /// steps before. If some of that is not there any more, paths of gradients begin after it.
    async fn report(
        &mut self,
        seen: Option<(Interference, LastGradients)>,
        done: u64,
        every: u64,
        emitter: &Emitter<H::Error>,
    ) -> Result<(), TrainError<H::Error>> {
        let what = Keepsake::Gradients(done);
        let Some((mut event, gradients)) = seen else {
            // An empty place, so that it is not taken for one that was lost.
            return self.home.keep(what, LastGradients::default().save()?).await.map_err(TrainError::Home);
        };
        let alone = event.last_layers.clone();
        for before in (1..done).step_by(every as usize) {
            let file = self.home.gradients(before).await.map_err(TrainError::Home)?;
            match file.map(|file| LastGradients::load(&file)) {
                Some(Ok(earlier)) => gradients.relate(&earlier, &mut event.last_layers),
                Some(Err(_)) | None => event.last_layers = alone.clone(),
            }
        }
        self.home.keep(what, gradients.save()?).await.map_err(TrainError::Home)?;
        emitter.emit(Event::Interference(event)).await;
        Ok(())
    }

    async fn evaluate(
        &mut self,
        timetable: &Timetable,
        emitter: &Emitter<H::Error>,
    ) -> Result<(), TrainError<H::Error>> {
        let bank = self.features(Split::Train).await?;
        let test = self.features(Split::Test).await?;
        for ((bank, test), width) in bank.iter().zip(&test).zip(&self.config.widths) {
            let accuracy = knn(bank, test, self.config.knn).await?;
            let event = Evaluated {
                step: self.state.steps,
                epoch: timetable.epoch(self.state.steps),
                width: *width,
                knn: accuracy.fraction,
                knn_standard_error: accuracy.standard_error,
                rankme: Some(rankme(bank.values.clone()).await?),
                ..Evaluated::default()
            };
            emitter.emit(Event::Evaluated(event)).await;
        }
        Ok(())
    }

    async fn features(&mut self, split: Split) -> Result<Vec<Features>, TrainError<H::Error>> {
        let Trainer { encoder, query, .. } = &mut self.state;
        features(&mut self.home, split, Extractor::new(encoder, query, &self.device), |_| {}).await
    }
}

/// Runs all of a split's images through `extractor`; `on_chunk` is told how many images each chunk had.
///
/// # Errors
/// If images fail, or there are none.
pub async fn features<H: Home>(
    home: &mut H,
    split: Split,
    mut extractor: Extractor<'_>,
    on_chunk: impl Fn(usize),
) -> Result<Vec<Features>, TrainError<H::Error>> {
    let mut chunk = 0;
    while let Some(images) = home.labelled(split, chunk).await.map_err(TrainError::Home)? {
        let count = images.labels.len();
        extractor.add(images);
        on_chunk(count);
        chunk += 1;
    }
    extractor.finish().ok_or(TrainError::NoImages(split))
}

/// Steps whose losses are still on the device.
struct Log {
    steps: Vec<Pending>,
    read_at: f64,
}

struct Pending {
    step: u64,
    rate: f64,
    losses: Vec<Tensor<1>>,
}

impl Log {
    fn new(now: f64) -> Self {
        Self { steps: Vec::new(), read_at: now }
    }
}
