//! Keyboard shortcuts.

use leptos::{ev, html, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::Element;

use super::workspace::Workspace;

/// Elements that use the full stop themselves.
const USE_FULL_STOP: &str = "input:not([type=checkbox]), select, textarea, [contenteditable]";
/// Elements that use the space bar themselves.
const USE_SPACE: &str = "input, select, textarea, button, summary, a, [tabindex='0'], [contenteditable]";

/// Listens for the shortcuts: space starts or pauses, a full stop takes one step. They work while the element that the
/// returned reference is given to is visible.
pub fn listen(workspace: Workspace) -> NodeRef<html::Div> {
    let element = NodeRef::<html::Div>::new();
    let listener = window_event_listener(ev::keydown, move |event| {
        let is_shown = element.get_untracked().is_some_and(|element| element.offset_parent().is_some());
        let target: Option<Element> = event.target().and_then(|target| target.dyn_into().ok());
        let uses_key = target
            .and_then(|target| target.closest(if event.key() == "." { USE_FULL_STOP } else { USE_SPACE }).ok()?)
            .is_some();
        if !is_shown || uses_key || event.alt_key() || event.ctrl_key() || event.meta_key() || event.repeat() {
            return;
        }
        let replays = untrack(|| workspace.playback.is_open() && !workspace.playback.is_introduction.get());
        let playback = replays.then_some(workspace.playback);
        match (event.key().as_str(), playback) {
            (" ", None) => workspace.toggle(),
            (" ", Some(playback)) if playback.is_playing.get_untracked() => playback.pause(),
            (" ", Some(playback)) => playback.play(),
            (".", None) => workspace.step(),
            (".", Some(playback)) => playback.step(),
            _ => return,
        }
        event.prevent_default();
    });
    on_cleanup(move || listener.remove());
    element
}
