//! The training loop: a stream of events, which a terminal, a page or a file shows.
//!
//! A [`Host`] gives the loop its images, a clock and a place for checkpoints. The native program is one, the browser's
//! worker another.

mod damaged;
mod error;
mod evaluation;
mod host;
mod inbox;
mod ranks;
mod views;

use std::{mem, ops::ControlFlow};

use async_fn_stream::{TryStreamEmitter, try_fn_stream};
use burn::tensor::Device;
use futures::{
    channel::mpsc::UnboundedReceiver,
    stream::{self, Stream, StreamExt},
};

use self::inbox::Inbox;
pub use self::{
    damaged::{DamagedImages, TooManyDamagedError},
    error::TrainError,
    host::{Artifact, Host, Split},
    views::view_measures,
};
use crate::{
    checkpoint::{self, Snapshot},
    collapse::CollapseWatch,
    command::Command,
    config::Config,
    event::{Event, Interference, LossMonitor, Started, Step},
    interference::{Observer, direction::LastGradients},
    kernel::ranks::Ranks,
    loss::StepLosses,
    method::{Batch, StepOptions, StepPlan, Trainer},
    profile::profile,
    schedule::RunSchedule,
};

/// Seconds between reads of the losses, which wait for the device.
const READ_EVERY: f64 = 0.25;

/// Maximum number of measurements of interference in a run, and of snapshots: as many as a figure can show.
const MEASUREMENTS: u64 = 200;

/// A run that is about to start or to resume.
pub struct Run<H: Host> {
    config: Config,
    state: Trainer,
    device: Device,
    device_name: String,
    host: H,
    inbox: Inbox,
    paused: bool,
    /// Whether the state that it resumes from has not been evaluated.
    unevaluated: bool,
    latest_batch: Option<Batch>,
    /// Steps of the latest checkpoint.
    saved_at: u64,
}

/// A command that interrupts training.
enum Interruption {
    Change(Box<Config>),
    Stop,
}

type Emitter<E> = TryStreamEmitter<Event, TrainError<E>>;

impl<H: Host> Run<H> {
    /// Creates a run of `state` with `config`'s options on `device`, which `device_name` describes.
    pub fn new(
        config: Config,
        state: Trainer,
        (device, device_name): (Device, String),
        host: H,
        commands: UnboundedReceiver<Command>,
    ) -> Self {
        let (saved_at, inbox) = (state.steps, Inbox::new(commands, state.ranks.clone()));
        Self {
            config,
            state,
            device,
            device_name,
            host,
            inbox,
            paused: false,
            unevaluated: false,
            latest_batch: None,
            saved_at,
        }
    }

    /// Makes the run begin with the evaluation that it was stopped in, if one is due after its steps.
    pub fn evaluating_first(self) -> Self {
        Self { unevaluated: true, ..self }
    }

    /// Returns the steps taken before: 0, or a checkpoint's.
    pub fn steps(&self) -> u64 {
        self.state.steps
    }

    /// Trains to the end, or until it is stopped. Nothing happens until the stream is polled.
    pub fn events(mut self) -> impl Stream<Item = Result<Event, TrainError<H::Error>>> {
        watched(try_fn_stream(|emitter| async move {
            let trained = self.train(&emitter).await;
            // If images are lost, a checkpoint keeps what was learned. If it cannot be saved, the first error says more. One
            // of several ranks cannot save without the others, which do not know of the error.
            let is_alone = self.state.ranks.is_single();
            if is_alone && matches!(trained, Err(TrainError::Host(_))) && self.state.steps > self.saved_at {
                let _ = self.checkpoint(&emitter).await;
            }
            trained
        }))
    }

    async fn train(&mut self, emitter: &Emitter<H::Error>) -> Result<(), TrainError<H::Error>> {
        ranks::check_same::<H::Error>(&self.state, &self.config, self.host.dataset()).await?;
        let mut schedule = self.config.schedule(self.host.dataset().train.images)?;
        let began = self.host.now();
        let measure_every = schedule.steps.div_ceil(MEASUREMENTS);
        let snapshot_every =
            schedule.steps_per_epoch * schedule.steps.div_ceil(schedule.steps_per_epoch * MEASUREMENTS);
        // Its measurements need no other rank, and only rank 0 reports them.
        let observes = self.config.interference && self.is_first();
        let observer = observes.then(|| Observer::new(&self.state.encoder));
        emitter.emit(Event::Started(Box::new(self.started(&schedule)))).await;
        let mut log = Log::new(self.host.now(), &self.state.ranks);
        let (unevaluated, steps) = (mem::take(&mut self.unevaluated), self.state.steps);
        if unevaluated && steps > 0 && schedule.evaluates(steps) && self.evaluate(&schedule, emitter).await?.is_break()
        {
            return self.stop(&mut log, &schedule, emitter).await;
        }
        let mut untrained = (steps == 0).then(|| self.state.clone());
        while self.state.steps < schedule.steps {
            match self.interruption(&mut log, &schedule, emitter).await? {
                None => {}
                Some(Interruption::Change(config)) => {
                    self.flush(&mut log, &schedule, emitter).await?;
                    self.change(*config, emitter).await?;
                    schedule = self.config.schedule(self.host.dataset().train.images)?;
                    continue;
                }
                Some(Interruption::Stop) => return self.stop(&mut log, &schedule, emitter).await,
            }

            let step = self.state.steps;
            let epoch = schedule.epoch(step);
            let measures = self.config.interference && step.is_multiple_of(measure_every);
            let plan = StepPlan { keeps_width_gradients: measures, ..schedule.plan(step) };
            let waiting_since = self.host.now();
            let batch = match self.inbox.unless_stopped(self.host.batch(step, &self.device)).await {
                Some(Ok(batch)) => batch,
                Some(Err(error)) => {
                    self.flush(&mut log, &schedule, emitter).await?;
                    return Err(TrainError::Host(error));
                }
                None => return self.stop(&mut log, &schedule, emitter).await,
            };
            log.waited += self.host.now() - waiting_since;
            self.latest_batch = Some(batch.clone());
            let outcome = self.state.step(batch, plan);
            log.steps.push(Pending { step, rate: plan.rate, losses: outcome.losses.clone() });

            let done = self.state.steps;
            let at_end = done == schedule.steps;
            let evaluates = schedule.evaluates(done);
            let saves = at_end || done.is_multiple_of(schedule.checkpoint_every);
            let snapshots = self.config.interference && (at_end || done.is_multiple_of(snapshot_every));
            let pauses = evaluates || saves || measures || snapshots || untrained.is_some();
            if pauses || self.host.now() - log.read_at > READ_EVERY {
                self.flush(&mut log, &schedule, emitter).await?;
            }
            // Evaluated after the first step, so that its loss, or a failure on a small machine, shows early.
            if let Some(untrained) = untrained.take() {
                let trained = mem::replace(&mut self.state, untrained);
                if schedule.evaluates(0) && self.evaluate(&schedule, emitter).await?.is_break() {
                    // Back at step 0, so that the resumed run evaluates the untrained network.
                    return self.stop(&mut log, &schedule, emitter).await;
                }
                self.snapshot().await?;
                self.state = trained;
            }
            if let Some(observer) = observer.as_ref().filter(|_| measures) {
                let seen = observer.observe(&self.state.encoder, &outcome, (done, epoch)).await?;
                self.report(seen, done, measure_every, emitter).await?;
            }
            if snapshots {
                self.snapshot().await?;
            }
            // The checkpoint comes last: if the run is killed before it is written, the resumed run evaluates again.
            if evaluates && self.evaluate(&schedule, emitter).await?.is_break() {
                return self.stop(&mut log, &schedule, emitter).await;
            }
            if saves {
                self.checkpoint(emitter).await?;
            }
            if pauses {
                log.restart(self.host.now(), &self.state.ranks);
            }
        }
        let seconds = self.host.now() - began;
        emitter.emit(Event::Finished { step: self.state.steps, seconds }).await;
        Ok(())
    }

    /// Returns whether this process reports the run and saves its files.
    fn is_first(&self) -> bool {
        self.state.ranks.rank() == 0
    }

    /// Ends the run before its end, with a checkpoint. Options that were changed in the wait that the command to stop ended
    /// are the checkpoint's.
    async fn stop(
        &mut self,
        log: &mut Log,
        schedule: &RunSchedule,
        emitter: &Emitter<H::Error>,
    ) -> Result<(), TrainError<H::Error>> {
        self.flush(log, schedule, emitter).await?;
        while let Some(command) = self.inbox.next_postponed() {
            if let Command::Change(config) = command {
                self.change(*config, emitter).await?;
            }
        }
        self.checkpoint(emitter).await?;
        emitter.emit(Event::Stopped { step: self.state.steps }).await;
        Ok(())
    }

    fn started(&self, schedule: &RunSchedule) -> Started {
        Started {
            config: self.config.clone(),
            device: self.device_name.clone(),
            images: self.host.dataset().train.images,
            normalisation: Some(self.host.dataset().normalisation),
            step: self.state.steps,
            steps: schedule.steps,
            steps_per_epoch: schedule.steps_per_epoch,
            slow_start_step: schedule.slow_start_step,
            queue_filled_step: self.config.queue_filled_step(),
            ranks: self.state.ranks.count(),
            profile: profile(&self.state.encoder, self.config.image_size),
        }
    }

    /// Handles pending commands, and blocks while paused, once losses are reported and a checkpoint is saved. Returns a
    /// command that interrupts training, or `None` to take the next step.
    async fn interruption(
        &mut self,
        log: &mut Log,
        schedule: &RunSchedule,
        emitter: &Emitter<H::Error>,
    ) -> Result<Option<Interruption>, TrainError<H::Error>> {
        loop {
            let command = if self.paused {
                self.flush(log, schedule, emitter).await?;
                if self.state.steps > self.saved_at {
                    self.checkpoint(emitter).await?;
                }
                let command = self.inbox.next().await;
                log.restart(self.host.now(), &self.state.ranks);
                command
            } else {
                self.inbox.try_next()
            };
            match command {
                Some(Command::Pause) => self.paused = true,
                Some(Command::Resume) => self.paused = false,
                Some(Command::Change(config)) => return Ok(Some(Interruption::Change(config))),
                Some(Command::Stop) => return Ok(Some(Interruption::Stop)),
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

    /// Continues with other options.
    async fn change(&mut self, config: Config, emitter: &Emitter<H::Error>) -> Result<(), TrainError<H::Error>> {
        self.config.check_change(&config)?;
        self.state.options = StepOptions::new(&config, self.state.encoder.layout().widths());
        self.config = config;
        let event = Event::Changed { step: self.state.steps, config: Box::new(self.config.clone()) };
        emitter.emit(event).await;
        Ok(())
    }

    /// Reads the losses of the steps since the last read, and reports them.
    async fn flush(
        &self,
        log: &mut Log,
        schedule: &RunSchedule,
        emitter: &Emitter<H::Error>,
    ) -> Result<(), TrainError<H::Error>> {
        let pending = mem::take(&mut log.steps);
        if pending.is_empty() {
            return Ok(());
        }
        let losses: Vec<&StepLosses> = pending.iter().map(|step| &step.losses).collect();
        let losses = StepLosses::read(&losses).await?;
        let now = self.host.now();
        let images = (pending.len() * self.config.batch) as f64;
        // A browser's clock may be too coarse to separate two reads.
        let seconds = (now - log.read_at).max(1e-3);
        let (images_per_second, waited) = (images / seconds, log.waited / seconds);
        let ranks = &self.state.ranks;
        let communication = (!ranks.is_single()).then(|| (ranks.seconds() - log.communicated) / seconds);
        log.restart(now, ranks);
        let widths = &self.config.widths;
        for (Pending { step, rate, .. }, (mut losses, mut monitors)) in pending.into_iter().zip(losses) {
            self.check_finite(step + 1, &losses)?;
            losses.resize(widths.len(), 0.0);
            if monitors.iter().any(|monitor| *monitor != LossMonitor::default()) {
                monitors.resize(widths.len(), LossMonitor::default());
            } else {
                monitors.clear();
            }
            let event = Step {
                step: step + 1,
                epoch: schedule.epoch(step),
                loss: losses.iter().sum(),
                losses,
                monitors,
                learning_rate: rate,
                images_per_second,
                waited: Some(waited),
                communication,
            };
            emitter.emit(Event::Step(event)).await;
        }
        Ok(())
    }

    /// Checks that no width's loss at `step` is NaN or infinite.
    fn check_finite(&self, step: u64, losses: &[f64]) -> Result<(), TrainError<H::Error>> {
        match losses.iter().zip(&self.config.widths).find(|(loss, _)| !loss.is_finite()) {
            Some((loss, width)) => Err(TrainError::Diverged { step, width: *width, loss: *loss }),
            None => Ok(()),
        }
    }

    /// Saves a checkpoint. The latest losses are older than the latest update, which may have made the weights NaN, so a
    /// copy takes a trial step first.
    async fn checkpoint(&mut self, emitter: &Emitter<H::Error>) -> Result<(), TrainError<H::Error>> {
        if let Some(batch) = self.latest_batch.clone() {
            let schedule = self.config.schedule(self.host.dataset().train.images)?;
            let losses = self.state.clone().step(batch, StepPlan::trial(schedule.epoch(self.state.steps))).losses;
            for (losses, _) in StepLosses::read(&[&losses]).await? {
                self.check_finite(self.state.steps + 1, &losses)?;
            }
        }
        if let Some(scale) = &self.state.loss_scale
            && scale.is_exhausted().await?
        {
            return Err(TrainError::Overflow);
        }
        self.state.average_statistics();
        if self.is_first() {
            let bytes = checkpoint::save(&self.state, &self.config, self.host.dataset()).await?;
            self.host.save(Artifact::Checkpoint, bytes).await.map_err(TrainError::Host)?;
        }
        self.saved_at = self.state.steps;
        emitter.emit(Event::Checkpoint { step: self.state.steps }).await;
        Ok(())
    }

    /// Saves the encoder, if interference is measured.
    async fn snapshot(&mut self) -> Result<(), TrainError<H::Error>> {
        if self.config.interference {
            self.state.average_statistics();
        }
        if self.config.interference && self.is_first() {
            let snapshot = Snapshot::save(&self.state, &self.config).await?;
            let what = Artifact::Snapshot(self.state.steps);
            self.host.save(what, snapshot).await.map_err(TrainError::Host)?;
        }
        Ok(())
    }

    /// Reports the measurement of the latest step, if there is one, with its inner products with earlier ones, `every`
    /// steps apart. If one of those is lost, paths of gradients start after it.
    async fn report(
        &mut self,
        seen: Option<(Interference, LastGradients)>,
        done: u64,
        every: u64,
        emitter: &Emitter<H::Error>,
    ) -> Result<(), TrainError<H::Error>> {
        let what = Artifact::Gradients(done);
        let Some((mut event, gradients)) = seen else {
            // An empty file, so that the measurement does not count as lost.
            return self.host.save(what, LastGradients::default().save()?).await.map_err(TrainError::Host);
        };
        let alone = event.last_layers.clone();
        for before in (1..done).step_by(every as usize) {
            let file = self.host.gradients(before).await.map_err(TrainError::Host)?;
            match file.map(|file| LastGradients::load(&file)) {
                Some(Ok(earlier)) => gradients.relate(&earlier, &mut event.last_layers),
                Some(Err(_)) | None => event.last_layers = alone.clone(),
            }
        }
        self.host.save(what, gradients.save()?).await.map_err(TrainError::Host)?;
        emitter.emit(Event::Interference(event)).await;
        Ok(())
    }

    /// Evaluates the network and reports the results; breaks, without any, if the run is stopped meanwhile.
    async fn evaluate(
        &mut self,
        schedule: &RunSchedule,
        emitter: &Emitter<H::Error>,
    ) -> Result<ControlFlow<()>, TrainError<H::Error>> {
        self.state.average_statistics();
        let epoch = schedule.epoch(self.state.steps);
        let evaluation = evaluation::evaluate(&mut self.host, &mut self.state, &self.config, epoch, emitter);
        let Some(evaluated) = self.inbox.unless_stopped(evaluation).await.transpose()? else {
            return Ok(ControlFlow::Break(()));
        };
        for evaluated in evaluated {
            emitter.emit(Event::Evaluated(evaluated)).await;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Adds the first sign of a collapse to events, after the event that shows it.
fn watched<E>(events: impl Stream<Item = Result<Event, E>>) -> impl Stream<Item = Result<Event, E>> {
    let mut watch = Some(CollapseWatch::default());
    events.flat_map(move |event| {
        let sign = event.as_ref().ok().zip(watch.as_mut()).and_then(|(event, watch)| watch.see(event));
        let step = event.as_ref().map_or(0, Event::step);
        watch = watch.take().filter(|_| sign.is_none());
        stream::iter([event].into_iter().chain(sign.map(|sign| Ok(Event::Collapsed { step, sign }))))
    })
}

/// Steps whose losses are still on the device.
struct Log {
    steps: Vec<Pending>,
    read_at: f64,
    /// Seconds since then spent waiting for images.
    waited: f64,
    /// Seconds until then spent in collective operations.
    communicated: f64,
}

struct Pending {
    step: u64,
    rate: f64,
    losses: StepLosses,
}

impl Log {
    fn new(now: f64, ranks: &Ranks) -> Self {
        Self { steps: Vec::new(), read_at: now, waited: 0.0, communicated: ranks.seconds() }
    }

    /// Measures time from `now` on.
    fn restart(&mut self, now: f64, ranks: &Ranks) {
        (self.read_at, self.waited, self.communicated) = (now, 0.0, ranks.seconds());
    }
}
