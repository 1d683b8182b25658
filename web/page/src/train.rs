//! The room where networks are trained: a lab with everything shown, whose options stand in the page's address.

use leptos::{ev, prelude::*};

use crate::{
    address::{self, Address},
    lab::{Bench, Options, Setup, Stage},
};

const ROOM: address::Room = address::Room::Train;
/// Says that there are two runs.
const COMPARE: &str = "compare";
/// What begins the names of the second run's options, where they differ from the first one's.
const SECOND: &str = "b.";

/// The room.
#[component]
pub fn Room() -> impl IntoView {
    let address: Address = expect_context();
    let named = address.options(ROOM);
    let bench = Bench::new(named.with_untracked(read));
    Effect::new(move || address.set_options(ROOM, write(bench)));
    Effect::new(move || {
        let named = named.get();
        // Written by somebody else; runs that go on keep what they have.
        if untrack(|| named != write(bench) && !bench.is_live()) {
            bench.set_options(read(&named));
        }
    });
    let listening = window_event_listener(ev::beforeunload, move |event| {
        if untrack(|| bench.is_live()) {
            event.prevent_default();
        }
    });
    on_cleanup(move || listening.remove());
    if address::is_live() {
        wasm_bindgen_futures::spawn_local(bench.playback.stream());
    }
    view! {
        <h1>"Train a slimmable network"</h1>
        <p class="lead">
            "One network, four widths that share its weights. Watch them learn from unlabelled images, watch their gradients get in each other’s way, "
            "and switch on what helps."
        </p>
        <Stage bench setup=Setup::whole(Vec::new())/>
    }
}

/// The options of one run, or of two, as the address names them.
fn read(named: &address::Options) -> Vec<Options> {
    let (second, first): (address::Options, address::Options) =
        named.iter().cloned().partition(|(key, _)| key.starts_with(SECOND));
    let compares = first.iter().any(|(key, _)| key == COMPARE);
    let first = Options::read(&Options::default(), &first);
    let second = second.into_iter().map(|(key, value)| (key[SECOND.len()..].to_owned(), value)).collect();
    let second = compares.then(|| Options::read(&first, &second));
    std::iter::once(first).chain(second).collect()
}

fn write(bench: Bench) -> address::Options {
    let runs: Vec<Options> = bench.runs().iter().map(|run| run.options.get()).collect();
    let mut options = runs[0].differences(&Options::default());
    if let Some(second) = runs.get(1) {
        options.push((COMPARE.to_owned(), "yes".to_owned()));
        options.extend(second.differences(&runs[0]).into_iter().map(|(key, value)| (format!("{SECOND}{key}"), value)));
    }
    options
}
