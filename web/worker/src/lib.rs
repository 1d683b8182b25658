//! The browser's trainer: the core and Burn in a Web Worker, so that the page never freezes. It obeys
//! [`Request`](slimclr_protocol::Request)s and answers with [`Report`](slimclr_protocol::Report)s.
#![cfg(target_family = "wasm")]

mod browser;
mod desk;
mod gallery;
mod images;
mod seat;
mod survey;
mod training;

use js_sys::Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

/// Begins to obey messages, those that are `waiting` first.
#[wasm_bindgen]
pub fn start(waiting: Array) {
    // The page tells the user that the worker is no more, and why.
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or("it failed without a word");
        browser::post(&JsValue::from_str(&format!("fatal: {words}")), &Array::new());
    }));
    let inbox = browser::inbox(&waiting);
    spawn_local(desk::Desk::default().obey(inbox));
}
