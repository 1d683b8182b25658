//! The runs of a lab and what they share.

use leptos::prelude::*;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;

use super::{
    data::{Data, Source},
    options::Options,
    playback::Playback,
    run::{Phase, Run},
    track::Track,
};
use crate::{fetch, files::Given, link::WorkerCode};

/// One run, or two side by side; a handle to them.
#[derive(Clone, Copy)]
pub struct Bench {
    /// The first run, and the one that it may be compared with.
    pub both: [Run; 2],
    /// Whether they are compared.
    pub compares: RwSignal<bool>,
    /// The one whose options are shown.
    pub chosen: RwSignal<usize>,
    /// The images of both.
    pub data: Data,
    /// Recordings that are looked at instead.
    pub playback: Playback,
    /// What went wrong with files, in a sentence.
    pub trouble: RwSignal<Option<String>>,
}

impl Bench {
    /// A bench with a run of each of these options, of which there are one or two.
    pub fn new(options: Vec<Options>) -> Self {
        let compares = RwSignal::new(options.len() > 1);
        let first = options.first().cloned().unwrap_or_default();
        let second = options.get(1).cloned().unwrap_or_else(|| contrast(&first));
        let (code, data) = (expect_context::<WorkerCode>(), Data::new());
        let bench = Self {
            both: [Run::new("A", first, code, data), Run::new("B", second, code, data)],
            compares,
            chosen: RwSignal::new(0),
            data,
            playback: Playback::new(),
            trouble: RwSignal::new(None),
        };
        Effect::new(move || bench.name());
        bench
    }

    /// The runs that are shown.
    pub fn runs(self) -> Vec<Run> {
        let count = if self.compares.get() { 2 } else { 1 };
        self.both[..count].to_vec()
    }

    /// What the figures show.
    pub fn tracks(self) -> Vec<Track> {
        if self.playback.is_open() {
            self.playback.tracks.get()
        } else {
            self.runs().into_iter().map(|run| run.track).collect()
        }
    }

    /// Sets the options of one run or of two.
    pub fn set_options(self, options: Vec<Options>) {
        self.compares.set(options.len() > 1);
        self.chosen.set(0);
        self.both.iter().zip(options).for_each(|(run, options)| run.options.set(options));
    }

    /// Sets a second run beside the first, with its options but for one technique.
    pub fn compare(self) {
        let [first, second] = self.both;
        second.options.set(first.options.with_untracked(contrast));
        self.compares.set(true);
        self.chosen.set(1);
    }

    /// Puts the second run away.
    pub fn part(self) {
        self.chosen.set(0);
        self.compares.set(false);
        self.both[1].reset();
    }

    /// Whether any run is training or about to.
    pub fn goes(self) -> bool {
        self.runs().iter().any(|run| matches!(run.phase.get(), Phase::Running | Phase::Preparing))
    }

    /// Whether any run has begun and not come to its end.
    pub fn is_live(self) -> bool {
        self.runs().iter().any(|run| run.phase.get().is_live())
    }

    /// Starts or resumes all; those that have come to their end stay there, unless all have.
    pub fn go(self) {
        let runs = untrack(|| self.runs());
        let has_ended = |run: &&Run| run.phase.get_untracked().has_ended();
        let all = runs.iter().all(|run| has_ended(&run));
        runs.iter().filter(|run| all || !has_ended(run)).for_each(|run| run.go());
    }

    /// Lets all wait.
    pub fn pause(self) {
        untrack(|| self.runs()).iter().for_each(|run| run.pause());
    }

    /// Goes on, or waits if any goes.
    pub fn toggle(self) {
        if untrack(|| self.goes()) { self.pause() } else { self.go() }
    }

    /// Takes one step in each.
    pub fn step(self) {
        let runs = untrack(|| self.runs());
        let live = runs.iter().filter(|run| !run.phase.get_untracked().has_ended());
        live.for_each(|run| run.step());
    }

    /// Forgets all that was trained, but for the checkpoints.
    pub fn reset(self) {
        self.both.iter().for_each(|run| run.reset());
    }

    /// Takes files in: runs are looked at, all else are images to train on.
    pub fn take(self, given: Vec<Given>) {
        self.trouble.set(None);
        let is_record = |path: &str| path.ends_with(".jsonl") || path.ends_with(".json");
        let is_network = |path: &str| [".safetensors", ".pth", ".pt", ".tar"].iter().any(|end| path.ends_with(end));
        let records: Vec<Given> = given.iter().filter(|(path, _)| is_record(path)).cloned().collect();
        if given.is_empty() {
            self.trouble.set(Some("There are no files in that folder.".into()));
        } else if records.iter().any(|(path, _)| path.ends_with(".jsonl")) {
            self.playback.begin_to_open(records);
        } else if given.iter().all(|(path, _)| is_network(path)) {
            self.trouble.set(Some("That is a trained network: the room “Switch widths” opens it.".into()));
        } else {
            let files = given.into_iter().map(|(path, file)| (path, file.into())).collect();
            self.data.source.set(Source::Files(files));
            self.both.iter().for_each(|run| run.images.set(None));
        }
    }

    /// Takes in what is dropped.
    pub fn take_dropped(self, dropped: impl Future<Output = Result<Vec<Given>, JsValue>> + 'static) {
        spawn_local(async move {
            match dropped.await {
                Ok(given) => self.take(given),
                Err(error) => {
                    self.trouble.set(Some(format!("What was dropped cannot be read ({}).", fetch::words(error))))
                }
            }
        });
    }

    /// Of two runs, the second one is called after what is different about it.
    fn name(self) {
        let [first, second] = self.both;
        let different = second.options.with(|second| first.options.with(|first| second.differences(first)));
        let words: Vec<String> =
            different.iter().map(|(key, value)| format!("{} {value}", key.replace('_', " "))).collect();
        first.track.name.set(if self.compares.get() { "A".into() } else { "This run".into() });
        second.track.name.set(if words.is_empty() { "B".into() } else { format!("B: {}", words.join(", ")) });
    }
}

/// The same options but for distillation.
fn contrast(options: &Options) -> Options {
    let mut other = options.clone();
    let distillation = if options.get("distill") == "none" { "seed" } else { "none" };
    // Both are among its values.
    let _ = other.set("distill", distillation);
    other
}
