//! Runs that were recorded, or that go on elsewhere: their events, and the step up to which they are shown.

use std::time::Duration;

use leptos::prelude::*;
use slimclr_run::{event::Event, interference::landscape::Landscape};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::spawn_local;
use web_sys::{EventSource, MessageEvent};

use super::track::Track;
use crate::{fetch, files};

/// Seconds that a whole recording plays.
const PLAYS: u64 = 20;
/// Between the pictures of a recording that plays, and between those of a run that streams in.
const TICK: Duration = Duration::from_millis(100);

/// Recordings that are looked at together; a handle to them.
#[derive(Clone, Copy)]
pub struct Playback {
    /// What is shown.
    pub tracks: RwSignal<Vec<Track>>,
    /// The step up to which; none to follow the end.
    pub at: RwSignal<Option<u64>>,
    /// Whether it moves by itself.
    pub plays: RwSignal<bool>,
    /// What there is to say about the files, in sentences.
    pub notes: RwSignal<Vec<String>>,
    /// Whether one of them goes on on the server.
    pub is_live: RwSignal<bool>,
    ticking: StoredValue<Option<IntervalHandle>>,
    stream: StoredValue<Option<Stream>, LocalStorage>,
}

/// A connection to the server that the page came from.
struct Stream {
    source: EventSource,
    _heard: Vec<Ear>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.source.close();
    }
}

impl Playback {
    /// Nothing to look at.
    pub fn new() -> Self {
        let playback = Self {
            tracks: RwSignal::new(Vec::new()),
            at: RwSignal::new(None),
            plays: RwSignal::new(false),
            notes: RwSignal::new(Vec::new()),
            is_live: RwSignal::new(false),
            ticking: StoredValue::new(None),
            stream: StoredValue::new_local(None),
        };
        on_cleanup(move || playback.pause());
        playback
    }

    /// Whether there is something to look at.
    pub fn is_open(self) -> bool {
        self.tracks.with(|tracks| !tracks.is_empty())
    }

    /// The last step of all.
    pub fn last(self) -> u64 {
        let last = |track: &Track| track.events.with(|events| events.iter().map(Event::step).max());
        self.tracks.with(|tracks| tracks.iter().filter_map(last).max().unwrap_or(0))
    }

    /// Shows everything up to a step; with none, to the end.
    pub fn seek(self, at: Option<u64>) {
        self.at.set(at);
        self.tracks.with_untracked(|tracks| tracks.iter().for_each(|track| track.until.set(at)));
    }

    /// Plays from where it is; from the beginning, if that is the end.
    pub fn play(self) {
        let last = untrack(|| self.last());
        if self.at.get_untracked().is_none_or(|at| at >= last) {
            self.seek(Some(0));
        }
        let stride = (last * TICK.as_millis() as u64 / 1000).div_ceil(PLAYS).max(1);
        let tick = move || {
            let (at, last) = (self.at.get_untracked().unwrap_or(0) + stride, untrack(|| self.last()));
            self.seek((at < last).then_some(at));
            if at >= last {
                self.pause();
            }
        };
        self.pause();
        self.plays.set(true);
        self.ticking.set_value(set_interval_with_handle(tick, TICK).ok());
    }

    /// Stays where it is.
    pub fn pause(self) {
        if let Some(Some(ticking)) = self.ticking.try_update_value(Option::take) {
            ticking.clear();
        }
        self.plays.try_set(false);
    }

    /// Shows a step more.
    pub fn step(self) {
        self.pause();
        let last = untrack(|| self.last());
        let at = self.at.get_untracked().map_or(last, |at| at + 1);
        self.seek((at < last).then_some(at));
    }

    /// Puts all away.
    pub fn close(self) {
        self.pause();
        self.stream.set_value(None);
        self.is_live.set(false);
        // Handles outlive what they are shown in, so their events would stay.
        self.tracks.get_untracked().iter().for_each(|track| track.clear());
        self.tracks.set(Vec::new());
        self.notes.set(Vec::new());
    }

    /// Opens runs' events, each with the landscape that lies beside it.
    pub async fn open(self, given: Vec<files::Given>) {
        let (landscapes, events): (Vec<_>, Vec<_>) = given.into_iter().partition(|(path, _)| path.ends_with(".json"));
        self.close();
        let (mut tracks, mut notes) = (Vec::new(), Vec::new());
        for (path, file) in events {
            match files::text(&file).await.map_err(fetch::words).and_then(|text| read(&text)) {
                Ok((events, bad)) => {
                    let track = Track::new(&name(&path, tracks.len()));
                    track.events.set(events);
                    tracks.push((folder(&path).to_owned(), track));
                    if bad > 0 {
                        let lines = if bad == 1 { "line is no event and was" } else { "lines are no events and were" };
                        notes.push(format!("{path}: {bad} {lines} passed over."));
                    }
                }
                Err(why) => notes.push(format!("{path} {why}: choose the events.jsonl of a run’s folder.")),
            }
        }
        for (path, file) in landscapes {
            let Some((_, track)) = tracks.iter().find(|(beside, _)| beside == folder(&path)) else {
                notes.push(format!("{path} is no run: choose the events.jsonl beside it, too."));
                continue;
            };
            let text = files::text(&file).await.unwrap_or_default();
            match serde_json::from_str::<Landscape>(&text) {
                Ok(landscape) => track.landscape.set(Some(landscape)),
                Err(_) => notes.push(format!("{path} is no loss surface: “slimclr landscape” makes one.")),
            }
        }
        self.tracks.set(tracks.into_iter().map(|(_, track)| track).collect());
        self.notes.set(notes);
        self.seek(None);
    }

    /// Shows the run that the page's server is reading.
    pub async fn stream(self) {
        let name = match fetch::text("run/run.json").await {
            Ok(run) => serde_json::from_str::<serde_json::Value>(&run)
                .ok()
                .and_then(|run| Some(run["name"].as_str()?.to_owned())),
            Err(_) => None,
        };
        let Some(name) = name else {
            self.notes.set(vec!["This page’s server shows no run: start it with “slimclr serve RUN”.".into()]);
            return;
        };
        let track = Track::new(&name);
        self.tracks.set(vec![track]);
        self.is_live.set(true);
        self.seek(None);
        match self.listen(track) {
            Ok(stream) => self.stream.set_value(Some(stream)),
            Err(error) => self.notes.set(vec![format!("The run cannot be followed ({}).", fetch::words(error))]),
        }
        if let Ok(landscape) = fetch::text("run/landscape.json").await {
            track.landscape.set(serde_json::from_str(&landscape).ok());
        }
    }

    fn listen(self, track: Track) -> Result<Stream, JsValue> {
        let source = EventSource::new("run/events")?;
        // A long run begins with thousands of lines: they are taken in together.
        let waiting = StoredValue::new(Vec::<Event>::new());
        let take = move || {
            let Some(new) = waiting.try_update_value(std::mem::take) else { return };
            track.events.update(|events| events.extend(new));
        };
        let message = move |message: JsValue| {
            let line = message.unchecked_into::<MessageEvent>().data().as_string().unwrap_or_default();
            let Ok(event) = serde_json::from_str(&line) else { return };
            let is_first = waiting.try_update_value(|waiting| {
                waiting.push(event);
                waiting.len() == 1
            });
            if is_first == Some(true) {
                set_timeout(take, TICK);
            }
        };
        let restart = move |_| {
            waiting.set_value(Vec::new());
            track.events.set(Vec::new());
        };
        let lost = move |_| {
            self.notes.set(vec!["The server does not answer; the page tries again by itself.".into()]);
        };
        let heard: [(&str, Ear); 4] = [
            ("message", Closure::new(message)),
            ("restart", Closure::new(restart)),
            ("error", Closure::new(lost)),
            ("open", Closure::new(move |_| self.notes.set(Vec::new()))),
        ];
        for (kind, closure) in &heard {
            source.add_event_listener_with_callback(kind, closure.as_ref().unchecked_ref())?;
        }
        Ok(Stream { source, _heard: heard.into_iter().map(|(_, closure)| closure).collect() })
    }

    /// [`Playback::open`], not waited for.
    pub fn begin_to_open(self, given: Vec<files::Given>) {
        spawn_local(self.open(given));
    }
}

/// What hears the server's messages.
type Ear = Closure<dyn Fn(JsValue)>;

/// Events line by line, and the number of lines that are none.
fn read(text: &str) -> Result<(Vec<Event>, usize), String> {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let events: Vec<Event> = lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let bad = lines().count() - events.len();
    if Event::latest_start(&events).is_some() { Ok((events, bad)) } else { Err("holds no events of a run".into()) }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A run is called after its folder.
fn name(path: &str, before: usize) -> String {
    match folder(path).rsplit('/').next() {
        Some(folder) if !folder.is_empty() => folder.to_owned(),
        _ if before == 0 => "recording".to_owned(),
        _ => format!("recording {}", before + 1),
    }
}
