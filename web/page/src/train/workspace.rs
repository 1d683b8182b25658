//! One run or two, with their images and recordings.

use leptos::prelude::*;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::{
    options::{Options, TECHNIQUES},
    playback::Playback,
    run::{Run, State},
    run_events::RunEvents,
};
use crate::{
    data::{Data, Source},
    fetch,
    files::UserFile,
    worker_code::WorkerCode,
};

/// A handle to one run, or to two side by side.
#[derive(Clone, Copy)]
pub struct Workspace {
    /// Run A, and run B to compare it with.
    pub both: [Run; 2],
    /// Whether run B is used.
    pub compares: RwSignal<bool>,
    /// The index of the run whose options are shown.
    pub selected: RwSignal<usize>,
    /// The images of both runs.
    pub data: Data,
    /// Recordings, shown in place of the runs while any is open.
    pub playback: Playback,
    /// The latest error message about files.
    pub error: RwSignal<Option<String>>,
}

impl Workspace {
    /// Creates a workspace with a run for each of these options, one or two.
    pub fn new(options: Vec<Options>) -> Self {
        let compares = RwSignal::new(options.len() > 1);
        let first = options.first().cloned().unwrap_or_default();
        let second = options.get(1).cloned().unwrap_or_else(|| first.toggle_techniques());
        let (code, data) = (expect_context::<WorkerCode>(), Data::new());
        let workspace = Self {
            both: [Run::new("A", first, code, data), Run::new("B", second, code, data)],
            compares,
            selected: RwSignal::new(0),
            data,
            playback: Playback::new(),
            error: RwSignal::new(None),
        };
        Effect::new(move || workspace.update_names());
        workspace
    }

    /// Returns the runs in use.
    pub fn runs(self) -> Vec<Run> {
        let count = if self.compares.get() { 2 } else { 1 };
        self.both[..count].to_vec()
    }

    /// Returns the events that the figures show: those of the recordings, or else of the runs.
    pub fn shown_events(self) -> Vec<RunEvents> {
        if self.playback.is_open() {
            self.playback.recordings.get()
        } else {
            self.runs().into_iter().map(|run| run.events).collect()
        }
    }

    /// Sets the options of one run or of two.
    pub fn set_options(self, options: Vec<Options>) {
        self.compares.set(options.len() > 1);
        self.selected.set(0);
        self.both.iter().zip(options).for_each(|(run, options)| run.options.set(options));
    }

    /// Adds run B, with the options of run A but nothing against interference or, if A has nothing, with the techniques.
    pub fn add_second(self) {
        let [first, second] = self.both;
        second.options.set(first.options.with_untracked(Options::toggle_techniques));
        self.compares.set(true);
        self.selected.set(1);
    }

    /// Removes run B.
    pub fn remove_second(self) {
        self.selected.set(0);
        self.compares.set(false);
        self.both[1].reset();
    }

    /// Returns whether any run is training or about to.
    pub fn is_active(self) -> bool {
        self.runs().iter().any(|run| run.state.with(State::is_active))
    }

    /// Returns whether the user has chosen images or started a run.
    pub fn is_in_use(self) -> bool {
        self.has_started() || self.data.is_own()
    }

    /// Returns whether any run has started.
    pub fn has_started(self) -> bool {
        self.runs().iter().any(|run| run.state.with(|state| *state != State::Idle))
    }

    /// Returns whether any run has started and not ended.
    pub fn is_live(self) -> bool {
        self.runs().iter().any(|run| run.state.with(State::is_live))
    }

    /// Starts or resumes all runs that have not ended; if all have ended, starts all again.
    pub fn go(self) {
        self.playback.end_introduction();
        let runs = untrack(|| self.runs());
        let has_ended = |run: &&Run| run.state.with_untracked(State::has_ended);
        let all = runs.iter().all(|run| has_ended(&run));
        runs.iter().filter(|run| all || !has_ended(run)).for_each(|run| run.go());
    }

    /// Pauses all runs.
    pub fn pause(self) {
        untrack(|| self.runs()).iter().for_each(|run| run.pause());
    }

    /// Pauses if any run is active, else starts or resumes.
    pub fn toggle(self) {
        if untrack(|| self.is_active()) { self.pause() } else { self.go() }
    }

    /// Takes one step in each run that has not ended.
    pub fn step(self) {
        self.playback.end_introduction();
        let runs = untrack(|| self.runs());
        runs.iter().filter(|run| !run.state.with_untracked(State::has_ended)).for_each(|run| run.step());
    }

    /// Resets both runs; their checkpoints stay.
    pub fn reset(self) {
        self.both.iter().for_each(|run| run.reset());
    }

    /// Opens the user's files: recorded runs for playback, or else images to train on.
    pub fn open(self, files: Vec<UserFile>) {
        self.error.set(None);
        let is_record = |path: &str| path.ends_with(".jsonl") || path.ends_with(".json");
        let is_network = |path: &str| {
            let path = path.to_ascii_lowercase();
            [".safetensors", ".pth", ".pt", ".tar", ".ckpt"].iter().any(|end| path.ends_with(end))
        };
        let records: Vec<UserFile> = files.iter().filter(|(path, _)| is_record(path)).cloned().collect();
        if files.is_empty() {
            self.error.set(Some("There are no files in that folder.".into()));
        } else if records.iter().any(|(path, _)| path.ends_with(".jsonl")) {
            spawn_local(self.playback.open(records));
        } else if files.iter().all(|(path, _)| is_network(path)) {
            self.error.set(Some("This is a trained network: open it under “Switch widths”.".into()));
        } else {
            self.playback.end_introduction();
            let files = files.into_iter().map(|(path, file)| (path, file.into())).collect();
            self.data.source.set(Source::Files(files));
            self.both.iter().for_each(|run| run.forget_images());
        }
    }

    /// Opens dropped files once the browser has listed them.
    pub fn open_dropped(self, dropped: impl Future<Output = Result<Vec<UserFile>, JsValue>> + 'static) {
        spawn_local(async move {
            match dropped.await {
                Ok(files) => self.open(files),
                Err(error) => {
                    let why = fetch::message(error);
                    self.error.set(Some(format!("The dropped files could not be read ({why}).")));
                }
            }
        });
    }

    /// Names run B after the options in which it differs from run A, and the run that does nothing against interference
    /// after that.
    fn update_names(self) {
        let [first, second] = self.both;
        let options = self.both.map(|run| run.options.get());
        let has_none = options.each_ref().map(Options::has_no_technique);
        let nothing =
            |run: usize| (has_none[run] && !has_none[1 - run]).then(|| "nothing against interference".to_owned());
        let is_technique = |key: &str| TECHNIQUES.iter().any(|(technique, _)| *technique == key);
        let differences = options[1].differences(&options[0]).into_iter();
        let differences = differences.filter(|(key, _)| !has_none[1] || !is_technique(key));
        let differences = differences.map(|(key, value)| format!("{} {value}", key.replace('_', " ")));
        let of_first = if self.compares.get() { name("A", nothing(0)) } else { "This run".to_owned() };
        first.events.name.set(of_first);
        second.events.name.set(name("B", nothing(1).into_iter().chain(differences)));
    }
}

/// Returns a run's name, with what is special about it.
fn name(letter: &str, special: impl IntoIterator<Item = String>) -> String {
    let special: Vec<String> = special.into_iter().collect();
    if special.is_empty() { letter.to_owned() } else { format!("{letter}: {}", special.join(", ")) }
}
