//! The keyboard's shortcuts.

use leptos::{ev, html, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::Element;

use super::bench::Bench;

/// What a full stop is written into, or chooses in.
const WRITTEN: &str = "input:not([type=checkbox]), select, textarea, [contenteditable]";
/// What has another use for the space bar.
const PRESSED: &str = "input, select, textarea, button, summary, a, [tabindex='0'], [contenteditable]";

/// Space goes on or waits, a full stop takes a step: in the lab that the returned place is given to, while it is shown.
pub fn listen(bench: Bench) -> NodeRef<html::Div> {
    let place = NodeRef::<html::Div>::new();
    let listening = window_event_listener(ev::keydown, move |event| {
        let is_shown = place.get_untracked().is_some_and(|place| place.offset_parent().is_some());
        let target: Option<Element> = event.target().and_then(|target| target.dyn_into().ok());
        let elsewhere = target
            .and_then(|target| target.closest(if event.key() == "." { WRITTEN } else { PRESSED }).ok()?)
            .is_some();
        if !is_shown || elsewhere || event.alt_key() || event.ctrl_key() || event.meta_key() || event.repeat() {
            return;
        }
        let playback = untrack(|| bench.playback.is_open()).then_some(bench.playback);
        match (event.key().as_str(), playback) {
            (" ", None) => bench.toggle(),
            (" ", Some(playback)) if playback.plays.get_untracked() => playback.pause(),
            (" ", Some(playback)) => playback.play(),
            (".", None) => bench.step(),
            (".", Some(playback)) => playback.step(),
            _ => return,
        }
        event.prevent_default();
    });
    on_cleanup(move || listening.remove());
    place
}
