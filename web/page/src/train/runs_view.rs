//! The view of a workspace: options, transport buttons, run cards and figures.

use leptos::prelude::*;
use slimclr_data::decode::FORMATS;
use wasm_bindgen::JsCast;
use web_sys::{DragEvent, Event};

use super::{
    card::Card,
    controls::Controls,
    figures::Figures,
    options::Options,
    overview::Overview,
    recording,
    run::{Images, State},
    run_events::RunEvents,
    shortcuts,
    workspace::Workspace,
};
use crate::{
    data::Source,
    files,
    surface::SurfaceView,
    worker_code::{Loading, WorkerCode},
};

/// The runs of a workspace, with all figures or a selection.
#[component]
pub fn RunsView(
    /// The runs.
    workspace: Workspace,
    /// Names of the report's figures to show; all by default.
    #[prop(optional)]
    figures: Option<&'static [&'static str]>,
    /// Whether to offer options, images, a second run, recordings, downloads and the loss landscape.
    #[prop(optional)]
    full: bool,
) -> impl IntoView {
    let element = shortcuts::listen(workspace);
    let is_over = RwSignal::new(false);
    let over = move |event: DragEvent| {
        if full {
            event.prevent_default();
            is_over.set(true);
        }
    };
    let drop = move |event: DragEvent| {
        is_over.set(false);
        let is_busy = untrack(|| workspace.is_live());
        if let Some(transfer) = event.data_transfer().filter(|_| full && !is_busy) {
            event.prevent_default();
            workspace.open_dropped(files::dropped(&transfer));
        }
    };
    let playback = workspace.playback;
    let shown = Signal::derive(move || workspace.shown_events());
    // A memo, so that the button that ends the introduction keeps the keyboard's focus.
    let replays = Memo::new(move |_| playback.is_open() && !playback.is_introduction.get());
    view! {
        <div
            class="runs" class:full=full class:over=is_over node_ref=element
            on:dragover=over on:dragleave=move |_| is_over.set(false) on:drop=drop
        >
            {full.then(|| options(workspace))}
            <div class="content">
                {messages(workspace)}
                {move || if replays.get() { recording::transport(playback) } else { transport(workspace) }}
                {move || playback.is_introduction.get().then(|| recording::transport(playback))}
                {full.then(|| overview(shown))}
                {move || if playback.is_open() { recording::cards(playback) } else { cards(workspace, full) }}
                {move || (!has_events(&shown.get())).then(|| invitation(full))}
                <Figures runs=shown only=figures/>
                {full.then(|| surfaces(shown))}
            </div>
        </div>
    }
}

fn has_events(runs: &[RunEvents]) -> bool {
    runs.iter().any(|run| run.list.with(|events| !events.is_empty()))
}

/// The first run at a glance, once it has events.
fn overview(shown: Signal<Vec<RunEvents>>) -> impl IntoView {
    let run = move || shown.get().into_iter().next().filter(|run| has_events(&[*run]));
    let started = Memo::new(move |_| run().is_some());
    // The runs change only between recordings and runs, so an event does not rebuild the view.
    move || {
        shown.track();
        started.get().then(|| untrack(run).map(|run| view! { <Overview run/> }))
    }
}

/// What to do first, shown while there are no events.
fn invitation(full: bool) -> impl IntoView {
    let replay = full.then(|| {
        view! {
            <p>"Or drop a recorded " <code>"events.jsonl"</code> " anywhere on this page to replay it."</p>
        }
    });
    view! {
        <div class="invitation">
            <p>
                "Press " <strong>"Start"</strong> " to train in this tab, on your own machine. "
                "Loss, accuracy and gradient interference are plotted live for every width."
            </p>
            {replay}
        </div>
    }
}

/// Messages about files.
fn messages(workspace: Workspace) -> impl IntoView {
    let messages = move || workspace.error.get().into_iter().chain(workspace.playback.messages.get());
    view! {
        <div role="alert" class="messages">
            {move || messages().map(|message| view! { <p class="problem">{message}</p> }).collect_view()}
        </div>
    }
}

/// The buttons for all runs that train here.
fn transport(workspace: Workspace) -> AnyView {
    let has_started = move || workspace.has_started();
    let have_ended = move || workspace.runs().iter().all(|run| run.state.with(State::has_ended));
    let main = move || match (workspace.is_active(), has_started(), have_ended()) {
        (true, ..) => "Pause",
        (false, false, _) => "Start",
        (false, true, true) => "Start again",
        (false, true, false) => "Resume",
    };
    view! {
        <div class="transport" role="group" aria-label="Training">
            <button type="button" class="main" aria-keyshortcuts="Space" on:click=move |_| workspace.toggle()>
                {main}
            </button>
            <button type="button" aria-keyshortcuts="." disabled=have_ended on:click=move |_| workspace.step()>
                "Step"
            </button>
            <button type="button" disabled=move || !has_started() on:click=move |_| workspace.reset()>"Reset"</button>
            <span class="shortcuts"><kbd>"Space"</kbd>" start, pause "<kbd>"."</kbd>" step"</span>
            {loading(expect_context())}
        </div>
    }
    .into_any()
}

/// The runs that train here.
fn cards(workspace: Workspace, full: bool) -> AnyView {
    let [first, second] = workspace.both;
    let is_single = Signal::derive(move || !workspace.compares.get());
    view! {
        <div class="cards">
            <Card run=first is_single full/>
            {move || workspace.compares.get().then(|| view! { <Card run=second is_single full/> })}
        </div>
    }
    .into_any()
}

/// The download of the workers' code, until it is complete.
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

/// The controls of the runs, of their images and of recordings.
fn options(workspace: Workspace) -> AnyView {
    let is_used = move |index: usize| index == 0 || workspace.compares.get();
    let of_run = move |index: usize| {
        let hidden = move || workspace.selected.get() != index;
        let run = workspace.both[index];
        move || {
            let id = format!("run{index}");
            is_used(index).then(|| view! { <div class="run-options" hidden=hidden><Controls run id/></div> })
        }
    };
    let is_wide = window().match_media("(min-width: 60rem)").ok().flatten().is_some_and(|query| query.matches());
    view! {
        <aside class="options" aria-label="Options">
            <details open=is_wide>
                <summary>"Options"</summary>
                {run_selection(workspace)}
                {of_run(0)}
                {of_run(1)}
                {sources(workspace)}
            </details>
        </aside>
    }
    .into_any()
}

/// Buttons to add or remove run B, and to select whose options are shown.
fn run_selection(workspace: Workspace) -> impl IntoView {
    let tab = move |index: usize, name: &'static str| {
        let is_selected = move || (workspace.selected.get() == index).to_string();
        let select = move |_| workspace.selected.set(index);
        view! { <button type="button" aria-pressed=is_selected on:click=select>{name}</button> }
    };
    move || {
        if workspace.compares.get() {
            let remove = move |_| workspace.remove_second();
            view! {
                <div class="pair" role="group" aria-label="Options of">
                    {tab(0, "Run A")}
                    {tab(1, "Run B")}
                    <button type="button" class="quiet" aria-label="Remove run B" on:click=remove>"×"</button>
                </div>
            }
            .into_any()
        } else {
            let add = move |_| workspace.add_second();
            let has_none = move || workspace.both[0].options.with(Options::has_no_technique);
            let about = move || {
                if has_none() {
                    "The same network, with slow start, distillation and reweighting."
                } else {
                    "The same network, with nothing against interference."
                }
            };
            view! {
                <button type="button" class="wide" aria-describedby="about-second" on:click=add>
                    "Compare with a second run"
                </button>
                <p class="about" id="about-second">{about}</p>
            }
            .into_any()
        }
    }
}

/// Images to train on, and recordings to replay.
fn sources(workspace: Workspace) -> impl IntoView {
    let open = move |event: Event| {
        if let Some(input) = event.target().and_then(|target| target.dyn_into().ok()) {
            workspace.open(files::take_chosen(&input));
        }
    };
    let images = move || match workspace.both[0].images.get() {
        Some(Images { name, classes, train, test, .. }) => {
            let classes = if classes == 0 { "no labels".into() } else { format!("{classes} classes") };
            format!("{name}: {train} training and {test} test images, {classes}")
        }
        None => workspace.data.description(),
    };
    let are_own = move || workspace.data.is_own();
    let fixed = move || workspace.is_live();
    let reset = move |_| workspace.data.source.set(Source::Bundle);
    view! {
        <fieldset>
            <legend>"Images"</legend>
            <p class="about" aria-live="polite">{images}</p>
            <div class="pickers">
                <label class="picker">
                    <input type="file" class="unseen" prop:webkitdirectory=true disabled=fixed on:change=open/>
                    "Folder…"
                </label>
                <label class="picker">
                    <input type="file" class="unseen" multiple accept=".bin,image/*" disabled=fixed on:change=open/>
                    "Files…"
                </label>
                {move || are_own().then(|| view! {
                    <button type="button" class="quiet" disabled=fixed on:click=reset>"Use this page’s"</button>
                })}
            </div>
            <p class="about">
                {format!("A folder of {FORMATS} images, with a sub-folder for each class or without labels; ")}
                "or CIFAR-10’s binary batches. They stay on your machine."
            </p>
        </fieldset>
        <fieldset>
            <legend>"Recorded run"</legend>
            <div class="pickers">
                <label class="picker">
                    <input type="file" class="unseen" multiple accept=".jsonl,.json" on:change=open/>
                    "Open events.jsonl…"
                </label>
            </div>
        </fieldset>
    }
}

/// The loss landscapes in 3D.
fn surfaces(shown: Signal<Vec<RunEvents>>) -> impl IntoView {
    move || {
        let surface = |run: RunEvents| {
            let landscape: Signal<_> = run.landscape.into();
            move || landscape.with(Option::is_some).then(|| view! { <SurfaceView landscape/> })
        };
        shown.get().into_iter().map(surface).collect_view()
    }
}
