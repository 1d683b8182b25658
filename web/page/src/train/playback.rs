//! Playback of runs that are recorded in files, or streamed by the server.

use std::time::Duration;

use leptos::prelude::*;
use slimclr_run::{event::Event, interference::landscape::Landscape};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{EventSource, MessageEvent};

use super::{pair_pictures::PairPictures, run_events::RunEvents};
use crate::{
    fetch,
    files::{self, UserFile},
};

/// Seconds to play a whole recording.
const DURATION: u64 = 20;
/// Time between updates, both of playback and of a streamed run.
const TICK: Duration = Duration::from_millis(100);
/// Time that the end of the page's own recording stays before it plays again.
const REST: Duration = Duration::from_secs(6);
/// The recording in the bundle.
const INTRODUCTION: &str = "recording.jsonl";

/// A handle to the open recordings.
#[derive(Clone, Copy)]
pub struct Playback {
    /// The recordings.
    pub recordings: RwSignal<Vec<RunEvents>>,
    /// The step that is shown; `None` for the latest.
    pub at: RwSignal<Option<u64>>,
    /// Whether playback is running.
    pub is_playing: RwSignal<bool>,
    /// Messages about the files.
    pub messages: RwSignal<Vec<String>>,
    /// Whether the server streams the run.
    pub is_live: RwSignal<bool>,
    /// Whether the recording is the page's own, which plays until the user starts a run.
    pub is_introduction: RwSignal<bool>,
    timer: StoredValue<Option<IntervalHandle>>,
    stream: StoredValue<Option<Stream>, LocalStorage>,
}

/// A stream of events from the page's server.
struct Stream {
    source: EventSource,
    _listeners: Vec<Listener>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.source.close();
    }
}

impl Playback {
    /// Creates a playback without recordings.
    pub fn new() -> Self {
        let playback = Self {
            recordings: RwSignal::new(Vec::new()),
            at: RwSignal::new(None),
            is_playing: RwSignal::new(false),
            messages: RwSignal::new(Vec::new()),
            is_live: RwSignal::new(false),
            is_introduction: RwSignal::new(false),
            timer: StoredValue::new(None),
            stream: StoredValue::new_local(None),
        };
        on_cleanup(move || playback.pause());
        playback
    }

    /// Returns whether a recording is open.
    pub fn is_open(self) -> bool {
        self.recordings.with(|recordings| !recordings.is_empty())
    }

    /// Returns the last step of all recordings.
    pub fn last(self) -> u64 {
        let last = |recording: &RunEvents| recording.list.with(|events| events.iter().map(Event::step).max());
        self.recordings.with(|recordings| recordings.iter().filter_map(last).max().unwrap_or(0))
    }

    /// Shows the events up to a step, or all.
    pub fn seek(self, at: Option<u64>) {
        self.at.set(at);
        self.recordings.with_untracked(|recordings| recordings.iter().for_each(|recording| recording.until.set(at)));
    }

    /// Plays from the current step, or from the start if that is the last.
    pub fn play(self) {
        let last = untrack(|| self.last());
        if self.at.get_untracked().is_none_or(|at| at >= last) {
            self.seek(Some(0));
        }
        let stride = (last * TICK.as_millis() as u64 / 1000).div_ceil(DURATION).max(1);
        let tick = move || {
            let (at, last) = (self.at.get_untracked().unwrap_or(0) + stride, untrack(|| self.last()));
            self.seek((at < last).then_some(at));
            if at >= last {
                self.pause();
                set_timeout(move || self.play_again(), REST);
            }
        };
        self.pause();
        self.is_playing.set(true);
        self.timer.set_value(set_interval_with_handle(tick, TICK).ok());
    }

    /// Plays the page's own recording again, unless the user has left its end.
    fn play_again(self) {
        let is_at_end = self.at.get_untracked().is_none() && !self.is_playing.get_untracked();
        if is_at_end && self.is_introduction.get_untracked() {
            self.play();
        }
    }

    /// Stops playing.
    pub fn pause(self) {
        if let Some(Some(timer)) = self.timer.try_update_value(Option::take) {
            timer.clear();
        }
        self.is_playing.try_set(false);
    }

    /// Shows one more step.
    pub fn step(self) {
        self.pause();
        let last = untrack(|| self.last());
        let at = self.at.get_untracked().map_or(last, |at| at + 1);
        self.seek((at < last).then_some(at));
    }

    /// Closes all recordings.
    pub fn close(self) {
        self.pause();
        self.stream.set_value(None);
        self.is_live.set(false);
        // The signals live as long as the page, so the events must be dropped explicitly.
        self.recordings.get_untracked().iter().for_each(|recording| recording.clear());
        self.recordings.set(Vec::new());
        self.is_introduction.set(false);
        self.messages.set(Vec::new());
    }

    /// Closes the page's own recording.
    pub fn end_introduction(self) {
        if self.is_introduction.get_untracked() {
            self.close();
        }
    }

    /// Opens the events of runs, each with the loss landscape in the same folder.
    pub async fn open(self, files: Vec<UserFile>) {
        let (landscapes, events): (Vec<_>, Vec<_>) = files.into_iter().partition(|(path, _)| path.ends_with(".json"));
        self.close();
        let (mut recordings, mut messages) = (Vec::new(), Vec::new());
        for (path, file) in events {
            match files::text(&file).await.map_err(fetch::message).and_then(|text| Recorded::read(&text)) {
                Ok(recorded) => {
                    let skipped = recorded.skipped;
                    recordings.push((folder(&path).to_owned(), recorded.into_run(&name(&path, recordings.len()))));
                    match skipped {
                        0 => {}
                        1 => messages.push(format!("{path}: skipped 1 line that is not an event.")),
                        _ => messages.push(format!("{path}: skipped {skipped} lines that are not events.")),
                    }
                }
                Err(why) => messages.push(format!("{path} {why}: choose the events.jsonl in a run’s folder.")),
            }
        }
        for (path, file) in landscapes {
            let Some((_, recording)) = recordings.iter().find(|(same, _)| same == folder(&path)) else {
                messages.push(format!("{path} is not a run: also choose the events.jsonl next to it."));
                continue;
            };
            let text = files::text(&file).await.unwrap_or_default();
            match serde_json::from_str::<Landscape>(&text) {
                Ok(landscape) => recording.landscape.set(Some(landscape)),
                Err(_) => {
                    messages.push(format!("{path} is not a loss landscape: compute one with “slimclr landscape”."));
                }
            }
        }
        self.recordings.set(recordings.into_iter().map(|(_, recording)| recording).collect());
        self.messages.set(messages);
        self.seek(None);
    }

    /// Plays the recording that comes with the page, unless the page `is_in_use` by the time that it is loaded.
    pub async fn introduce(self, is_in_use: impl Fn() -> bool) {
        // Without it, the page only lacks its introduction.
        let Ok(recorded) = introduction().await else { return };
        if untrack(|| self.is_open() || is_in_use()) {
            return;
        }
        self.is_introduction.set(true);
        self.recordings.set(vec![recorded.into_run("recording")]);
        let prefers_stillness = window().match_media("(prefers-reduced-motion: reduce)").ok().flatten();
        if prefers_stillness.is_some_and(|query| query.matches()) {
            self.seek(None);
        } else {
            self.play();
        }
    }

    /// Shows the run that the page's server streams.
    pub async fn stream(self) {
        let name = match fetch::text("run/run.json").await {
            Ok(run) => serde_json::from_str::<serde_json::Value>(&run)
                .ok()
                .and_then(|run| Some(run["name"].as_str()?.to_owned())),
            Err(_) => None,
        };
        let Some(name) = name else {
            self.messages.set(vec!["This server streams no run: start it with “slimclr serve RUN”.".into()]);
            return;
        };
        let recording = RunEvents::new(&name);
        self.recordings.set(vec![recording]);
        self.is_live.set(true);
        self.seek(None);
        match self.listen(recording) {
            Ok(stream) => self.stream.set_value(Some(stream)),
            Err(error) => {
                self.messages.set(vec![format!("The run’s events could not be loaded ({}).", fetch::message(error))]);
            }
        }
        if let Ok(landscape) = fetch::text("run/landscape.json").await {
            recording.landscape.set(serde_json::from_str(&landscape).ok());
        }
    }

    fn listen(self, recording: RunEvents) -> Result<Stream, JsValue> {
        let source = EventSource::new("run/events")?;
        // A long run starts with thousands of events, so they are added in batches.
        let waiting = StoredValue::new(Vec::<Event>::new());
        let flush = move || {
            let Some(new) = waiting.try_update_value(std::mem::take) else { return };
            recording.list.update(|events| events.extend(new));
        };
        let message = move |message: JsValue| {
            let line = message.unchecked_into::<MessageEvent>().data().as_string().unwrap_or_default();
            let Ok(event) = serde_json::from_str(&line) else { return };
            let is_first = waiting.try_update_value(|waiting| {
                waiting.push(event);
                waiting.len() == 1
            });
            if is_first == Some(true) {
                set_timeout(flush, TICK);
            }
        };
        let restart = move |_| {
            waiting.set_value(Vec::new());
            recording.list.set(Vec::new());
        };
        let lost = move |_| self.messages.set(vec!["The server does not answer. Reconnecting…".into()]);
        let listeners: [(&str, Listener); 4] = [
            ("message", Closure::new(message)),
            ("restart", Closure::new(restart)),
            ("error", Closure::new(lost)),
            ("open", Closure::new(move |_| self.messages.set(Vec::new()))),
        ];
        for (kind, listener) in &listeners {
            source.add_event_listener_with_callback(kind, listener.as_ref().unchecked_ref())?;
        }
        Ok(Stream { source, _listeners: listeners.into_iter().map(|(_, listener)| listener).collect() })
    }
}

type Listener = Closure<dyn Fn(JsValue)>;

/// Returns the pictures of the recording that comes with the page.
///
/// # Errors
/// If it cannot be loaded; the error is a message for the user.
pub async fn introduction_pairs() -> Result<Vec<PairPictures>, String> {
    Ok(introduction().await?.pairs)
}

async fn introduction() -> Result<Recorded, String> {
    Recorded::read(&fetch::text(INTRODUCTION).await?)
}

/// The contents of a recording.
#[derive(Default)]
struct Recorded {
    events: Vec<Event>,
    pairs: Vec<PairPictures>,
    /// Number of invalid lines.
    skipped: usize,
}

impl Recorded {
    /// Parses lines, each with an event or with pictures.
    ///
    /// # Errors
    /// If no run starts among the events.
    fn read(text: &str) -> Result<Self, String> {
        let mut recorded = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if let Ok(event) = serde_json::from_str(line) {
                recorded.events.push(event);
            } else if let Ok(pairs) = serde_json::from_str(line) {
                recorded.pairs.push(pairs);
            } else {
                recorded.skipped += 1;
            }
        }
        match Event::latest_start(&recorded.events) {
            Some(_) => Ok(recorded),
            None => Err("contains no events of a run".into()),
        }
    }

    fn into_run(self, name: &str) -> RunEvents {
        let run = RunEvents::new(name);
        run.list.set(self.events);
        run.pairs.set(self.pairs);
        run
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns a run's name: its folder, or else a number.
fn name(path: &str, before: usize) -> String {
    match folder(path).rsplit('/').next() {
        Some(folder) if !folder.is_empty() => folder.to_owned(),
        _ if before == 0 => "recording".to_owned(),
        _ => format!("recording {}", before + 1),
    }
}
