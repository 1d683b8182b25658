//! Controls and live figures of a run, or of two side by side on one time axis.

mod bench;
mod card;
mod controls;
mod data;
mod figures;
mod keys;
mod options;
mod playback;
mod recording;
mod run;
mod track;

use std::sync::atomic::{AtomicUsize, Ordering};

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{DragEvent, Event};

pub use self::{bench::Bench, options::Options};
use self::{
    card::Card,
    controls::Controls,
    data::Source,
    figures::Figures,
    recording::Recording,
    run::{Images, Phase},
    track::Track,
};
use crate::{
    files,
    link::{Loading, WorkerCode},
    surface::SurfaceView,
};

/// What a lab shows.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What its runs are begun with: one, or two side by side.
    pub runs: Vec<Options>,
    /// The options that have a control; none for all.
    pub controls: Option<&'static [&'static str]>,
    /// The figures by their names in the report; none for all.
    pub figures: Option<&'static [&'static str]>,
    /// Whether images and a second run can be chosen, recordings opened and files saved.
    pub whole: bool,
}

impl Setup {
    /// All there is.
    pub fn whole(runs: Vec<Options>) -> Self {
        Self { runs, controls: None, figures: None, whole: true }
    }
}

/// A lab of its own.
#[component]
pub fn Lab(
    /// What it shows.
    setup: Setup,
) -> impl IntoView {
    let bench = Bench::new(setup.runs.clone());
    view! { <Stage bench setup/> }
}

/// A lab around runs that somebody else knows of, too.
#[component]
pub fn Stage(
    /// The runs.
    bench: Bench,
    /// What is shown of them.
    setup: Setup,
) -> impl IntoView {
    let Setup { controls, figures, whole, .. } = setup;
    let place = keys::listen(bench);
    let is_over = RwSignal::new(false);
    let over = move |event: DragEvent| {
        if whole {
            event.prevent_default();
            is_over.set(true);
        }
    };
    let drop = move |event: DragEvent| {
        is_over.set(false);
        let is_busy = untrack(|| bench.is_live());
        if let Some(transfer) = event.data_transfer().filter(|_| whole && !is_busy) {
            event.prevent_default();
            bench.take_dropped(files::dropped(&transfer));
        }
    };
    let playback = bench.playback;
    let tracks = Signal::derive(move || bench.tracks());
    view! {
        <div
            class="lab" class:whole=whole class:over=is_over node_ref=place
            on:dragover=over on:dragleave=move |_| is_over.set(false) on:drop=drop
        >
            <aside class="options" aria-label="Options">{options(bench, controls, whole)}</aside>
            <div class="stage">
                {notes(bench)}
                {move || if playback.is_open() {
                    view! { <Recording playback/> }.into_any()
                } else {
                    training(bench, whole).into_any()
                }}
                {move || (!has_events(&tracks.get())).then(|| invitation(whole))}
                <Figures tracks only=figures/>
                {whole.then(|| surfaces(tracks))}
            </div>
        </div>
    }
}

fn has_events(tracks: &[Track]) -> bool {
    tracks.iter().any(|track| track.events.with(|events| !events.is_empty()))
}

/// What can be seen here, before there is anything to be seen.
fn invitation(whole: bool) -> impl IntoView {
    let more = whole.then(|| {
        view! {
            <p>"Or drop a recorded run’s " <code>"events.jsonl"</code> " anywhere on this page to play it again."</p>
        }
    });
    view! {
        <div class="invitation">
            <p>
                "Press " <strong>"Start"</strong> ": the network trains in this tab, on your machine, and the losses of its widths, their accuracy "
                "and the interference between their gradients are drawn as they come."
            </p>
            {more}
        </div>
    }
}

/// What there is to say about files.
fn notes(bench: Bench) -> impl IntoView {
    let sentences = move || bench.trouble.get().into_iter().chain(bench.playback.notes.get());
    view! {
        <div role="alert" class="notes">
            {move || sentences().map(|sentence| view! { <p class="problem">{sentence}</p> }).collect_view()}
        </div>
    }
}

/// The runs that are trained here, and the buttons for all of them.
fn training(bench: Bench, whole: bool) -> impl IntoView {
    let begun = move || bench.runs().iter().any(|run| run.phase.get() != Phase::Idle);
    let ended = move || bench.runs().iter().all(|run| run.phase.get().has_ended());
    let main = move || match (bench.goes(), begun(), ended()) {
        (true, ..) => "Pause",
        (false, false, _) => "Start",
        (false, true, true) => "Start again",
        (false, true, false) => "Resume",
    };
    let alone = Signal::derive(move || !bench.compares.get());
    view! {
        <div class="transport" role="group" aria-label="Training">
            <button type="button" class="main" aria-keyshortcuts="Space" on:click=move |_| bench.toggle()>{main}</button>
            <button type="button" aria-keyshortcuts="." disabled=ended on:click=move |_| bench.step()>"Step"</button>
            <button type="button" disabled=move || !begun() on:click=move |_| bench.reset()>"Reset"</button>
            <span class="shortcuts"><kbd>"Space"</kbd>" start, pause "<kbd>"."</kbd>" step"</span>
            {loading(expect_context())}
        </div>
        <div class="cards">
            <For each=move || bench.runs() key=|run| run.phase let:run>
                <Card run alone whole/>
            </For>
        </div>
    }
}

/// How far the workers' code has come, until it is there.
fn loading(code: WorkerCode) -> impl IntoView {
    const MEGABYTE: f64 = 1e6;
    move || match code.loading().get() {
        Loading::Ready => None,
        Loading::Fetching { loaded, total } => {
            let max = total.map(|total| total.to_string());
            let size = total.map(|total| format!(" of {:.0}", total / MEGABYTE)).unwrap_or_default();
            Some(
                view! {
                    <label class="bar">
                        <span>{format!("Loading the trainer: {:.1}{size} MB", loaded / MEGABYTE)}</span>
                        <progress max=max value=loaded.to_string()></progress>
                    </label>
                }
                .into_any(),
            )
        }
        Loading::Failed => Some(
            view! {
                <span class="problem" role="alert">
                    "The trainer could not be loaded. "
                    <button type="button" class="quiet" on:click=move |_| code.fetch()>"Try again"</button>
                </span>
            }
            .into_any(),
        ),
    }
}

/// The controls of the runs, of the images and of recordings.
fn options(bench: Bench, only: Option<&'static [&'static str]>, whole: bool) -> impl IntoView {
    let shown = move |index: usize| index == 0 || bench.compares.get();
    let sheet = move |index: usize| {
        let id = format!("{}-{index}", place_in_page());
        let hidden = move || whole && bench.chosen.get() != index;
        let run = bench.both[index];
        move || {
            shown(index).then(|| {
                view! {
                    <div class="sheet" hidden=hidden>
                        {(!whole && bench.compares.get_untracked()).then(|| view! { <h3>{run.track.name}</h3> })}
                        <Controls run id=id.clone() only/>
                    </div>
                }
            })
        }
    };
    let folds = view! {
        {whole.then(|| choice_of_run(bench))}
        {sheet(0)}
        {sheet(1)}
        {whole.then(|| sources(bench))}
    };
    if whole {
        let is_wide = window().match_media("(min-width: 60rem)").ok().flatten().is_some_and(|query| query.matches());
        view! { <details open=is_wide><summary>"Options"</summary>{folds}</details> }.into_any()
    } else {
        folds.into_any()
    }
}

/// A number that no other lab has.
fn place_in_page() -> String {
    static LABS: AtomicUsize = AtomicUsize::new(0);
    format!("lab{}", LABS.fetch_add(1, Ordering::Relaxed))
}

/// One run or two, and whose options are shown.
fn choice_of_run(bench: Bench) -> impl IntoView {
    let tab = move |index: usize, name: &'static str| {
        view! {
            <button type="button" aria-pressed=move || (bench.chosen.get() == index).to_string() on:click=move |_| bench.chosen.set(index)>{name}</button>
        }
    };
    move || {
        if bench.compares.get() {
            view! {
            <div class="pair" role="group" aria-label="Options of">
                {tab(0, "Run A")}
                {tab(1, "Run B")}
                <button type="button" class="quiet" aria-label="Remove run B" on:click=move |_| bench.part()>"×"</button>
            </div>
        }.into_any()
        } else {
            view! { <button type="button" class="wide" on:click=move |_| bench.compare()>"Compare with a second run"</button> }.into_any()
        }
    }
}

/// Images to train on, and recordings to look at.
fn sources(bench: Bench) -> impl IntoView {
    let take = move |event: Event| {
        if let Some(input) = event.target().and_then(|target| target.dyn_into().ok()) {
            bench.take(files::chosen(&input));
        }
    };
    let images = move || match bench.both[0].images.get() {
        Some(Images { name, counts: [classes, train, test, _] }) => {
            format!("{name}: {train} to train on, {test} to test, {classes} classes")
        }
        None => bench.data.in_words(),
    };
    let is_own = move || bench.data.source.with(|source| matches!(source, Source::Files(_)));
    let fixed = move || bench.runs().iter().any(|run| run.phase.get().is_live());
    view! {
        <fieldset>
            <legend>"Images"</legend>
            <p class="about" aria-live="polite">{images}</p>
            <div class="pickers">
                <label class="picker"><input type="file" class="unseen" prop:webkitdirectory=true disabled=fixed on:change=take/>"Folder…"</label>
                <label class="picker"><input type="file" class="unseen" multiple accept=".bin,image/*" disabled=fixed on:change=take/>"Files…"</label>
                {move || is_own().then(|| view! {
                    <button type="button" class="quiet" disabled=fixed on:click=move |_| bench.data.source.set(Source::Bundle)>"This page’s"</button>
                })}
            </div>
            <p class="about">"A folder for each class, or CIFAR-10’s binary batches. They stay on your machine."</p>
        </fieldset>
        <fieldset>
            <legend>"Recorded run"</legend>
            <div class="pickers">
                <label class="picker"><input type="file" class="unseen" multiple accept=".jsonl,.json" on:change=take/>"Open events.jsonl…"</label>
            </div>
        </fieldset>
    }
}

/// The loss surfaces in three dimensions.
fn surfaces(tracks: Signal<Vec<Track>>) -> impl IntoView {
    move || {
        let surface = |track: Track| {
            let landscape: Signal<_> = track.landscape.into();
            move || landscape.with(Option::is_some).then(|| view! { <SurfaceView landscape/> })
        };
        tracks.get().into_iter().map(surface).collect_view()
    }
}
