//! A run as the page sees it. Each run has its own worker.

use leptos::prelude::*;
use slimclr_protocol::{Job, Progress, Report, Request};
use slimclr_run::{command::Command, config::Config, event::Event};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::{
    options::{METHOD, Options, Problem, key_of},
    pair_pictures::PairPictures,
    run_events::RunEvents,
};
use crate::{data::Data, fetch, worker_code::WorkerCode, worker_handle::WorkerHandle};

/// Grid points along each direction of a loss landscape.
const CELLS: usize = 15;

/// The state of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// The run has not started.
    Idle,
    /// The worker opens its device and reads the images.
    Preparing {
        /// What to do once the images are there.
        start: Start,
        /// Whether to train from the latest checkpoint instead of from scratch.
        from_checkpoint: bool,
    },
    /// The run is training with these options.
    Running(Config),
    /// The run waits before its next step.
    Paused(Config),
    /// The run stops, and then starts with another method from its checkpoint.
    SwitchingMethod {
        /// What to do after the switch.
        start: Start,
    },
    /// The run has reached its end.
    Finished,
    /// The run has failed.
    Failed,
}

/// How training starts once the worker is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Trains.
    Running,
    /// Waits before the first step.
    Paused,
    /// Takes one step, then waits.
    Step,
}

impl State {
    /// Returns whether the run has started and not ended.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Idle | Self::Finished | Self::Failed)
    }

    /// Returns whether the run is training or about to.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Preparing { .. } | Self::Running(_) | Self::SwitchingMethod { start: Start::Running })
    }

    /// Returns whether the run has ended, successfully or not.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Finished | Self::Failed)
    }

    /// Returns the name shown to the user.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle => "not started",
            Self::Preparing { .. } => "preparing",
            Self::Running(_) | Self::SwitchingMethod { start: Start::Running } => "training",
            Self::Paused(_) | Self::SwitchingMethod { .. } => "paused",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// The computation of a loss landscape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LandscapeJob {
    /// No landscape is being computed.
    Idle,
    /// A landscape is being computed.
    Running,
    /// A landscape is being computed; training resumes afterwards.
    RunningThenResume,
}

/// The device of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// The device and its adapter, for the user.
    pub name: String,
    /// Why the requested device is not used, if it is not.
    pub instead: Option<String>,
}

/// The images of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// Their name, for the user.
    pub name: String,
    /// Number of classes.
    pub classes: usize,
    /// Number of training images.
    pub train: usize,
    /// Number of test images.
    pub test: usize,
    /// What of the user's files is used and what is not.
    pub note: Option<String>,
}

/// A checkpoint that a worker has sent.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Steps taken.
    pub step: u64,
    /// The file, a `Uint8Array`.
    pub bytes: JsValue,
}

/// A handle to a run.
#[derive(Clone, Copy)]
pub struct Run {
    /// The options for the next start; an active run also takes those that can change during training.
    pub options: RwSignal<Options>,
    /// The state.
    pub state: RwSignal<State>,
    /// The device, once it is open.
    pub device: RwSignal<Option<Device>>,
    /// The images, once they are read.
    pub images: RwSignal<Option<Images>>,
    /// Which images have turned out to be damaged, for the user.
    pub damaged: RwSignal<Option<String>>,
    /// Progress of the current long job.
    pub progress: RwSignal<Option<Progress>>,
    /// The computation of the loss landscape.
    pub landscape_job: RwSignal<LandscapeJob>,
    /// The latest error message.
    pub error: RwSignal<Option<String>>,
    /// The option that is invalid.
    pub problem: RwSignal<Option<Problem>>,
    /// The latest checkpoint. It outlives its worker, and stays until the next run saves one.
    pub checkpoint: RwSignal<Option<Checkpoint>, LocalStorage>,
    /// The events so far.
    pub events: RunEvents,
    code: WorkerCode,
    data: Data,
    worker: StoredValue<Option<WorkerHandle>, LocalStorage>,
    /// Number of workers started so far, which identifies the current one.
    session: StoredValue<u64>,
}

impl Run {
    /// Creates a run that has not started.
    pub fn new(name: &str, options: Options, code: WorkerCode, data: Data) -> Self {
        Self {
            options: RwSignal::new(options),
            state: RwSignal::new(State::Idle),
            device: RwSignal::new(None),
            images: RwSignal::new(None),
            damaged: RwSignal::new(None),
            progress: RwSignal::new(None),
            landscape_job: RwSignal::new(LandscapeJob::Idle),
            error: RwSignal::new(None),
            problem: RwSignal::new(None),
            checkpoint: RwSignal::new_local(None),
            events: RunEvents::new(name),
            code,
            data,
            worker: StoredValue::new_local(None),
            session: StoredValue::new(0),
        }
    }

    /// Starts the run, or resumes it after a pause.
    pub fn go(self) {
        match self.state.get_untracked() {
            State::Idle | State::Finished | State::Failed => self.start_from_scratch(Start::Running),
            State::Preparing { .. } | State::SwitchingMethod { .. } => self.set_start(Start::Running),
            State::Running(_) => {}
            State::Paused(config) => self.command(Command::Resume, State::Running(config)),
        }
    }

    /// Pauses before the next step.
    pub fn pause(self) {
        match self.state.get_untracked() {
            State::Preparing { .. } | State::SwitchingMethod { .. } => self.set_start(Start::Paused),
            State::Running(config) => self.command(Command::Pause, State::Paused(config)),
            State::Idle | State::Paused(_) | State::Finished | State::Failed => {}
        }
    }

    /// Takes one step, then pauses.
    pub fn step(self) {
        match self.state.get_untracked() {
            State::Idle | State::Finished | State::Failed => self.start_from_scratch(Start::Step),
            State::Preparing { .. } | State::SwitchingMethod { .. } => self.set_start(Start::Step),
            State::Running(config) | State::Paused(config) => {
                self.command(Command::SingleStep, State::Paused(config));
            }
        }
    }

    /// Ends the worker and clears everything except the checkpoint.
    pub fn reset(self) {
        self.end_worker();
        self.events.clear();
        self.error.set(None);
        self.device.set(None);
        self.forget_images();
        self.state.set(State::Idle);
    }

    /// Forgets what is known of the images, because others are chosen.
    pub fn forget_images(self) {
        self.images.set(None);
        self.damaged.set(None);
    }

    /// Trains from the latest checkpoint in a new worker.
    pub fn continue_from_checkpoint(self) {
        if self.check_options() {
            self.start_worker(Start::Running, true);
        }
    }

    /// Sets an option. An active run changes at once, if it can.
    pub fn set(self, key: &'static str, text: &str) {
        let mut options = self.options.get_untracked();
        if let Err(message) = options.set(key, text) {
            self.problem.set(Some(Problem { key, message }));
            return;
        }
        self.problem.set(options.problem());
        self.options.set(options.clone());
        if self.problem.with_untracked(Option::is_none) {
            self.change(options.config);
        }
    }

    /// Returns whether an option cannot be changed now.
    pub fn is_fixed(self, key: &str) -> bool {
        const CHANGEABLE: [&str; 6] = ["method", "slow_start", "distill", "reweighting", "surgery", "learning_rate"];
        self.state.with(State::is_live) && !CHANGEABLE.contains(&key)
    }

    /// Computes the loss landscape around the latest checkpoint. Pauses training meanwhile.
    pub fn compute_landscape(self) {
        let is_running = self.state.with_untracked(|state| matches!(state, State::Running(_)));
        self.pause();
        self.error.set(None);
        self.landscape_job.set(if is_running { LandscapeJob::RunningThenResume } else { LandscapeJob::Running });
        self.send(&Request::Landscape { cells: CELLS });
    }

    /// Cancels the computation of the loss landscape.
    pub fn cancel_landscape(self) {
        self.send(&Request::Cancel);
    }

    /// Returns whether a loss landscape can be computed now.
    pub fn can_compute_landscape(self) -> bool {
        let has_worker = self.state.with(|state| *state != State::Idle) && self.worker.with_value(Option::is_some);
        has_worker && self.checkpoint.with(Option::is_some) && self.landscape_job.get() == LandscapeJob::Idle
    }

    fn start_from_scratch(self, start: Start) {
        if self.check_options() {
            self.events.clear();
            self.start_worker(start, false);
        }
    }

    /// Changes what happens once the worker is ready.
    fn set_start(self, to: Start) {
        self.state.update(|state| {
            if let State::Preparing { start, .. } | State::SwitchingMethod { start } = state {
                *start = to;
            }
        });
    }

    /// Returns whether the options are valid; if not, shows why.
    fn check_options(self) -> bool {
        let problem = self.options.with_untracked(Options::problem);
        self.problem.set(problem.clone());
        problem.is_none()
    }

    fn start_worker(self, start: Start, from_checkpoint: bool) {
        self.end_worker();
        self.session.update_value(|session| *session += 1);
        self.error.set(None);
        self.state.set(State::Preparing { start, from_checkpoint });
        let device = self.options.with_untracked(|options| options.device);
        let on_report = move |report, attached| self.on_report(report, attached);
        let worker = WorkerHandle::open(self.code, device, on_report, move |message| self.fail(message));
        self.worker.set_value(Some(worker));
    }

    fn end_worker(self) {
        self.worker.set_value(None);
        self.progress.set(None);
        self.landscape_job.set(LandscapeJob::Idle);
    }

    fn fail(self, message: String) {
        self.end_worker();
        self.error.set(Some(message));
        self.state.set(State::Failed);
    }

    fn send(self, request: &Request) {
        self.send_with(request, Vec::new());
    }

    fn send_with(self, request: &Request, attached: Vec<JsValue>) {
        // The value is disposed once the view is gone.
        self.worker.try_with_value(|worker| worker.iter().for_each(|worker| worker.send(request, attached.clone())));
    }

    fn command(self, command: Command, then: State) {
        self.send(&Request::Command(command));
        self.state.set(then);
    }

    /// Applies changed options to an active run. While it prepares, they take effect when training starts.
    fn change(self, config: Config) {
        let state = self.state.get_untracked();
        let start = if matches!(state, State::Paused(_)) { Start::Paused } else { Start::Running };
        let (State::Running(before) | State::Paused(before)) = state else { return };
        if before.method != config.method {
            if [before.multiplier, before.image_size as f64] != [config.multiplier, config.image_size as f64] {
                let message = "The student of a teacher is another network: press Reset, then Start.".into();
                self.problem.set(Some(Problem { key: METHOD, message }));
                return;
            }
            self.command(Command::Stop, State::SwitchingMethod { start });
            return;
        }
        // The output dimension of a supervised network follows from the images.
        let config = Config { dim: before.dim, ..config };
        match before.check_change(&config) {
            Ok(()) => {
                let now = if start == Start::Paused { State::Paused } else { State::Running };
                self.command(Command::Change(Box::new(config.clone())), now(config));
            }
            Err(error) => self.problem.set(Some(Problem { key: key_of(&error), message: format!("{error}.") })),
        }
    }

    /// Requests training with the current options, once the teacher is loaded, if they name one.
    fn train(self) {
        let (session, teacher) =
            (self.session.get_value(), self.options.with_untracked(|options| options.config.teacher.clone()));
        spawn_local(async move {
            let teacher = match teacher.as_str() {
                "" => Ok(None),
                path => fetch::bytes(path).await.map(|bytes| Some(bytes.into())),
            };
            // The worker may have been replaced meanwhile.
            if self.session.try_get_value() != Some(session) {
                return;
            }
            match teacher {
                Ok(teacher) => self.request_training(teacher),
                Err(why) => self.fail(format!("The teacher could not be loaded ({why}): start again.")),
            }
        });
    }

    fn request_training(self, teacher: Option<JsValue>) {
        let (start, from_checkpoint) = match self.state.get_untracked() {
            State::Preparing { start, from_checkpoint } => (start, from_checkpoint),
            State::SwitchingMethod { start } => (start, true),
            // The run was reset meanwhile.
            _ => return,
        };
        let [classes, images] = self
            .images
            .with_untracked(|images| images.as_ref().map_or([0, 0], |images| [images.classes, images.train]));
        let config = self.options.with_untracked(|options| options.config.clone()).for_classes(classes);
        let config = match config.and_then(|config| config.schedule(images).map(|_| config)) {
            Ok(config) => config,
            Err(error) => {
                self.end_worker();
                self.problem.set(Some(Problem { key: key_of(&error), message: format!("{error}.") }));
                self.state.set(State::Idle);
                return;
            }
        };
        let checkpoint = self.checkpoint.get_untracked().filter(|_| from_checkpoint);
        let attached = teacher.into_iter().chain(checkpoint.map(|checkpoint| checkpoint.bytes)).collect();
        let paused = start != Start::Running;
        self.send_with(&Request::Train { config: Box::new(config.clone()), paused }, attached);
        if start == Start::Step {
            self.send(&Request::Command(Command::SingleStep));
        }
        self.state.set(if paused { State::Paused(config) } else { State::Running(config) });
    }

    fn on_report(self, report: Report, mut attached: Vec<JsValue>) {
        match report {
            Report::Ready { device, instead, .. } => {
                self.device.set(Some(Device { name: device, instead }));
                self.send_images();
            }
            Report::Images { name, classes, train, test, note } => {
                self.progress.set(None);
                self.damaged.set(None);
                self.images.set(Some(Images { name, classes: classes.len(), train, test, note }));
                if let State::Preparing { .. } = self.state.get_untracked() {
                    self.train();
                }
            }
            Report::Damaged(images) => self.damaged.set(Some(images)),
            Report::Event(event) => self.on_event(*event),
            Report::Checkpoint { step } => {
                if let Some(bytes) = attached.pop() {
                    self.checkpoint.set(Some(Checkpoint { step, bytes }));
                }
            }
            Report::Pairs { pairs, sides } => self.events.pairs.set(vec![PairPictures::new(pairs, sides, attached)]),
            Report::Progress(progress) => self.progress.set(Some(progress)),
            Report::Landscape(landscape) => {
                self.events.landscape.set(Some(landscape));
                self.end_landscape_job();
            }
            Report::Cancelled { .. } => self.end_landscape_job(),
            Report::Failed { job: Job::Landscape, message } => {
                self.error.set(Some(message));
                self.end_landscape_job();
            }
            Report::Failed { job: Job::Train, message } => {
                self.progress.set(None);
                self.error.set(Some(message));
                self.state.set(State::Failed);
            }
            Report::Failed { message, .. } => self.fail(message),
            // Answers to requests that are not sent here.
            Report::Network { .. } | Report::Gallery { .. } | Report::Embedded { .. } => {}
        }
    }

    fn send_images(self) {
        let session = self.session.get_value();
        spawn_local(async move {
            let request = self.data.request().await;
            // The worker may have been replaced meanwhile.
            if self.session.try_get_value() != Some(session) {
                return;
            }
            match request {
                Ok((images, files)) => self.send_with(&Request::Images(images), files),
                Err(message) => self.fail(message),
            }
        });
    }

    fn on_event(self, event: Event) {
        self.progress.set(None);
        let has_stopped = matches!(event, Event::Stopped { .. });
        let has_finished = matches!(event, Event::Finished { .. });
        self.events.list.update(|events| events.push(event));
        match self.state.get_untracked() {
            State::SwitchingMethod { .. } if has_stopped => self.train(),
            _ if has_stopped || has_finished => self.state.set(State::Finished),
            _ => {}
        }
    }

    fn end_landscape_job(self) {
        self.progress.set(None);
        let job = self.landscape_job.get_untracked();
        self.landscape_job.set(LandscapeJob::Idle);
        if let (LandscapeJob::RunningThenResume, State::Paused(config)) = (job, self.state.get_untracked()) {
            self.command(Command::Resume, State::Running(config));
        }
    }
}
