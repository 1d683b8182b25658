//! Training: options, controls and live figures of one run, or of two side by side.

mod card;
mod controls;
mod figures;
mod options;
mod overview;
mod pair_pictures;
mod playback;
mod recording;
mod run;
mod run_events;
mod runs_view;
mod shortcuts;
mod workspace;

use leptos::{ev, prelude::*};
use wasm_bindgen_futures::spawn_local;

use self::options::Options;
pub use self::{
    pair_pictures::PairPictures,
    playback::introduction_pairs,
    run_events::{RunEvents, WidthStatus},
    runs_view::RunsView,
    workspace::Workspace,
};
use crate::address::{self, Address, Route};

const ROUTE: Route = Route::Train;
/// The key in the address that adds run B.
const COMPARE: &str = "compare";
/// The prefix of run B's options where they differ from run A's.
const SECOND: &str = "b.";

/// The page for training. Its options are part of the address.
#[component]
pub fn TrainPage() -> impl IntoView {
    let address: Address = expect_context();
    let named = address.options(ROUTE);
    let workspace = Workspace::new(named.with_untracked(read));
    Effect::new(move || address.set_options(ROUTE, write(workspace)));
    Effect::new(move || {
        let named = named.get();
        // The user has edited the address. Active runs keep their options.
        if untrack(|| named != write(workspace) && !workspace.is_live()) {
            workspace.set_options(read(&named));
        }
    });
    let listener = window_event_listener(ev::beforeunload, move |event| {
        if untrack(|| workspace.is_live()) {
            event.prevent_default();
        }
    });
    on_cleanup(move || listener.remove());
    if address::is_live() {
        spawn_local(workspace.playback.stream());
    } else {
        spawn_local(workspace.playback.introduce(move || workspace.is_in_use()));
    }
    view! {
        <h1>"Train a slimmable network"</h1>
        <p class="lead">
            "One network, four widths, shared weights. Watch it learn from unlabelled pictures, "
            "and see where the widths pull against each other."
        </p>
        <RunsView workspace full=true/>
    }
}

/// Returns the options of one run, or of two, that an address names.
pub fn read(named: &address::Options) -> Vec<Options> {
    let (second, first): (address::Options, address::Options) =
        named.iter().cloned().partition(|(key, _)| key.starts_with(SECOND));
    let compares = first.iter().any(|(key, _)| key == COMPARE);
    let first = Options::read(&Options::default(), &first);
    let second = second.into_iter().map(|(key, value)| (key[SECOND.len()..].to_owned(), value)).collect();
    let second = compares.then(|| Options::read(&first, &second));
    std::iter::once(first).chain(second).collect()
}

/// Returns the options for the address.
fn write(workspace: Workspace) -> address::Options {
    let runs: Vec<Options> = workspace.runs().iter().map(|run| run.options.get()).collect();
    let mut options = runs[0].differences(&Options::default());
    if let Some(second) = runs.get(1) {
        options.push((COMPARE.to_owned(), "yes".to_owned()));
        options.extend(second.differences(&runs[0]).into_iter().map(|(key, value)| (format!("{SECOND}{key}"), value)));
    }
    options
}
