//! A run in a worker of its own, from the page's side.

use leptos::prelude::*;
use slimclr_protocol::{Progress, Report, Request, Task};
use slimclr_run::{command::Command, config::Config, event::Event};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::{
    data::Data,
    options::{Options, Problem, key},
    track::Track,
};
use crate::link::{Link, WorkerCode};

/// Places along each direction of a loss surface.
const CELLS: usize = 15;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing yet.
    Idle,
    /// Its worker takes a device and reads the images.
    Preparing,
    /// Training.
    Running,
    /// Waiting before the next step.
    Paused,
    /// It came to its end.
    Ended,
    /// It broke off.
    Failed,
}

impl Phase {
    /// Whether it can be told to go on or to wait.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Preparing | Self::Running | Self::Paused)
    }

    /// Whether it has ended, well or not.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }
}

/// The device that a run has.
#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    /// In words, with the adapter.
    pub name: String,
    /// Why it is not the one that was asked for.
    pub instead: Option<String>,
}

/// The images that a run has.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// In words.
    pub name: String,
    /// Classes, training images, test images, files that are no images.
    pub counts: [usize; 4],
}

/// What a worker has kept of its run.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// Steps that it has taken.
    pub step: u64,
    /// The file, a `Uint8Array`.
    pub bytes: JsValue,
}

/// How a run begins once its images are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Running,
    Paused,
    /// With a single step.
    Step,
}

/// A run and what is known of it; a handle to it.
#[derive(Clone, Copy)]
pub struct Run {
    /// What it is, or would be, begun with.
    pub options: RwSignal<Options>,
    /// What it is doing.
    pub phase: RwSignal<Phase>,
    /// Its device, once it has one.
    pub device: RwSignal<Option<Device>>,
    /// Its images, once it has them.
    pub images: RwSignal<Option<Images>>,
    /// What takes long at the moment.
    pub progress: RwSignal<Option<Progress>>,
    /// Whether the loss around its weights is being computed.
    pub surveying: RwSignal<bool>,
    /// What went wrong, in a sentence.
    pub trouble: RwSignal<Option<String>>,
    /// An option that cannot be as it is.
    pub problem: RwSignal<Option<Problem>>,
    /// Its latest checkpoint, or that of the run before it as long as it has none. It outlives the worker.
    pub checkpoint: RwSignal<Option<Checkpoint>, LocalStorage>,
    /// What it has told.
    pub track: Track,
    code: WorkerCode,
    data: Data,
    link: StoredValue<Option<Link>, LocalStorage>,
    /// How many workers it has had.
    opening: StoredValue<u64>,
    /// The options in force.
    config: RwSignal<Option<Config>>,
    start: StoredValue<Start>,
    /// Whether it is to go on from the checkpoint.
    continues: StoredValue<bool>,
    /// Whether it stops only to go on by another method.
    switching: StoredValue<bool>,
    /// Whether it goes on after the survey.
    resumes: StoredValue<bool>,
}

impl Run {
    /// A run that has not begun.
    pub fn new(name: &str, options: Options, code: WorkerCode, data: Data) -> Self {
        Self {
            options: RwSignal::new(options),
            phase: RwSignal::new(Phase::Idle),
            device: RwSignal::new(None),
            images: RwSignal::new(None),
            progress: RwSignal::new(None),
            surveying: RwSignal::new(false),
            trouble: RwSignal::new(None),
            problem: RwSignal::new(None),
            checkpoint: RwSignal::new_local(None),
            track: Track::new(name),
            code,
            data,
            link: StoredValue::new_local(None),
            opening: StoredValue::new(0),
            config: RwSignal::new(None),
            start: StoredValue::new(Start::Running),
            continues: StoredValue::new(false),
            switching: StoredValue::new(false),
            resumes: StoredValue::new(false),
        }
    }

    /// Begins, or goes on after a pause.
    pub fn go(self) {
        match self.phase.get_untracked() {
            Phase::Paused => self.steer(Command::Resume, Phase::Running),
            Phase::Idle | Phase::Ended | Phase::Failed => self.begin(Start::Running),
            Phase::Preparing => self.start.set_value(Start::Running),
            Phase::Running => {}
        }
    }

    /// Waits before the next step.
    pub fn pause(self) {
        match self.phase.get_untracked() {
            Phase::Running => self.steer(Command::Pause, Phase::Paused),
            Phase::Preparing => self.start.set_value(Start::Paused),
            _ => {}
        }
    }

    /// Takes one step and waits.
    pub fn step(self) {
        match self.phase.get_untracked() {
            Phase::Running | Phase::Paused => self.steer(Command::SingleStep, Phase::Paused),
            Phase::Idle | Phase::Ended | Phase::Failed => self.begin(Start::Step),
            Phase::Preparing => self.start.set_value(Start::Step),
        }
    }

    /// Ends the worker and forgets what happened, but for the checkpoint, which stays until there is another one.
    pub fn reset(self) {
        self.part();
        self.track.clear();
        self.trouble.set(None);
        self.device.set(None);
        self.images.set(None);
        self.phase.set(Phase::Idle);
    }

    /// Goes on from the latest checkpoint in a new worker.
    pub fn go_on(self) {
        if self.is_sound() {
            self.open(Start::Running, true);
        }
    }

    /// Sets an option; a run that goes on takes it at once, if it can.
    pub fn set(self, key: &'static str, text: &str) {
        let mut options = self.options.get_untracked();
        if let Err(message) = options.set(key, text) {
            self.problem.set(Some(Problem { key, message }));
            return;
        }
        self.problem.set(options.problem());
        self.options.set(options.clone());
        if self.phase.get_untracked().is_live() && self.problem.with_untracked(Option::is_none) {
            self.change(options.config);
        }
    }

    /// Whether an option can be set now.
    pub fn is_fixed(self, key: &str) -> bool {
        const TECHNIQUES: [&str; 6] = ["method", "slow_start", "distill", "reweighting", "surgery", "learning_rate"];
        self.phase.get().is_live() && !TECHNIQUES.contains(&key)
    }

    /// Computes the loss around the weights of the latest checkpoint. A run that goes on waits until it is there.
    pub fn survey(self) {
        self.resumes.set_value(self.phase.get_untracked() == Phase::Running);
        self.pause();
        self.trouble.set(None);
        self.surveying.set(true);
        self.ask(&Request::Survey { cells: CELLS });
    }

    /// Ends the survey.
    pub fn cancel(self) {
        self.ask(&Request::Cancel);
    }

    /// Whether there is a worker that could survey.
    pub fn can_survey(self) -> bool {
        let has_worker = self.phase.get() != Phase::Idle && self.link.with_value(Option::is_some);
        has_worker && self.checkpoint.with(Option::is_some) && !self.surveying.get()
    }

    fn begin(self, start: Start) {
        if self.is_sound() {
            self.track.clear();
            self.open(start, false);
        }
    }

    /// Whether its options are those of a run; if not, what is wrong is said.
    fn is_sound(self) -> bool {
        let problem = self.options.with_untracked(Options::problem);
        self.problem.set(problem.clone());
        problem.is_none()
    }

    fn open(self, start: Start, continues: bool) {
        self.part();
        self.opening.update_value(|opening| *opening += 1);
        self.start.set_value(start);
        self.continues.set_value(continues);
        self.trouble.set(None);
        self.phase.set(Phase::Preparing);
        let device = self.options.with_untracked(|options| options.device);
        let hear = move |report, attached| self.hear(report, attached);
        let link = Link::open(self.code, device, hear, move |message| self.fail(message));
        self.link.set_value(Some(link));
    }

    /// Ends the worker.
    fn part(self) {
        self.link.set_value(None);
        self.progress.set(None);
        self.surveying.set(false);
        self.config.set(None);
        self.switching.set_value(false);
        self.resumes.set_value(false);
    }

    fn fail(self, message: String) {
        self.part();
        self.trouble.set(Some(message));
        self.phase.set(Phase::Failed);
    }

    fn ask(self, request: &Request) {
        self.ask_with(request, Vec::new());
    }

    fn ask_with(self, request: &Request, attached: Vec<JsValue>) {
        // A lab that is gone has no link any more.
        self.link.try_with_value(|link| link.iter().for_each(|link| link.ask(request, attached.clone())));
    }

    fn steer(self, command: Command, then: Phase) {
        self.ask(&Request::Steer(command));
        self.phase.set(then);
    }

    /// Takes other options while it goes on.
    fn change(self, config: Config) {
        let Some(before) = self.config.get_untracked() else { return };
        if before.method != config.method {
            let paused = self.phase.get_untracked() == Phase::Paused;
            self.start.set_value(if paused { Start::Paused } else { Start::Running });
            self.switching.set_value(true);
            self.ask(&Request::Steer(Command::Stop));
            return;
        }
        // A supervised network's outputs follow from the images.
        let config = Config { dim: before.dim, ..config };
        match before.check_change(&config) {
            Ok(()) => {
                self.config.set(Some(config.clone()));
                self.ask(&Request::Steer(Command::Change(Box::new(config))));
            }
            Err(error) => self.problem.set(Some(Problem { key: key(&error), message: format!("{error}.") })),
        }
    }

    /// Asks for training, with the options as they are now.
    fn train(self) {
        let classes = self.images.with_untracked(|images| images.as_ref().map_or(0, |images| images.counts[0]));
        let training = self.images.with_untracked(|images| images.as_ref().map_or(0, |images| images.counts[1]));
        let config = self.options.with_untracked(|options| options.config.clone()).for_classes(classes);
        if let Err(error) = config.schedule(training) {
            self.part();
            self.problem.set(Some(Problem { key: key(&error), message: format!("{error}.") }));
            self.phase.set(Phase::Idle);
            return;
        }
        let start = self.start.get_value();
        let checkpoint = self.checkpoint.get_untracked().filter(|_| self.continues.get_value());
        let attached = checkpoint.map(|checkpoint| checkpoint.bytes).into_iter().collect();
        self.config.set(Some(config.clone()));
        self.ask_with(&Request::Train { config: Box::new(config), paused: start != Start::Running }, attached);
        if start == Start::Step {
            self.ask(&Request::Steer(Command::SingleStep));
        }
        self.phase.set(if start == Start::Running { Phase::Running } else { Phase::Paused });
    }

    fn hear(self, report: Report, mut attached: Vec<JsValue>) {
        match report {
            Report::Ready { device, instead, .. } => {
                self.device.set(Some(Device { name: device, instead }));
                let opening = self.opening.get_value();
                spawn_local(async move {
                    let request = self.data.request().await;
                    // By then, the worker may be another.
                    if self.opening.try_get_value() != Some(opening) {
                        return;
                    }
                    match request {
                        Ok((images, files)) => self.ask_with(&Request::Images(images), files),
                        Err(message) => self.fail(message),
                    }
                });
            }
            Report::Images { name, classes, train, test, skipped } => {
                self.progress.set(None);
                self.images.set(Some(Images { name, counts: [classes.len(), train, test, skipped] }));
                self.train();
            }
            Report::Event(event) => self.happen(event),
            Report::Checkpoint { step } => {
                if let Some(bytes) = attached.pop() {
                    self.checkpoint.set(Some(Checkpoint { step, bytes }));
                }
            }
            Report::Progress(progress) => self.progress.set(Some(progress)),
            Report::Landscape(landscape) => {
                self.track.landscape.set(Some(landscape));
                self.surveyed();
            }
            Report::Cancelled { .. } => self.surveyed(),
            Report::Failed { task: Task::Survey, message } => {
                self.trouble.set(Some(message));
                self.surveyed();
            }
            Report::Failed { task: Task::Train, message } => {
                self.progress.set(None);
                self.trouble.set(Some(message));
                self.phase.set(Phase::Failed);
            }
            Report::Failed { message, .. } => self.fail(message),
            // Of trained networks, which a run's worker is never asked about.
            Report::Network { .. } | Report::Gallery { .. } | Report::Embedded { .. } => {}
        }
    }

    fn happen(self, event: Event) {
        self.progress.set(None);
        match &event {
            Event::Finished { .. } => self.phase.set(Phase::Ended),
            Event::Stopped { .. } if self.switching.get_value() => {
                self.switching.set_value(false);
                self.continues.set_value(true);
                self.track.events.update(|events| events.push(event));
                self.train();
                return;
            }
            Event::Stopped { .. } => self.phase.set(Phase::Ended),
            _ => {}
        }
        self.track.events.update(|events| events.push(event));
    }

    fn surveyed(self) {
        self.progress.set(None);
        self.surveying.set(false);
        if self.resumes.get_value() && self.phase.get_untracked() == Phase::Paused {
            self.steer(Command::Resume, Phase::Running);
        }
        self.resumes.set_value(false);
    }
}
