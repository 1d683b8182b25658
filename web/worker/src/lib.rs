//! The trainer in the browser: the core and Burn in a Web Worker, so that the page never freezes. It handles
//! `Request`s and answers with `Report`s, which `slimclr-protocol` defines.
#![cfg(target_family = "wasm")]

mod browser;
mod device;
mod gallery;
mod host;
mod images;
mod landscape;
mod pairs;
mod pixels;
mod requests;
mod training;

use js_sys::Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

/// Starts to handle messages, those in `waiting` first.
#[wasm_bindgen]
pub fn start(waiting: Array) {
    // The page shows the user that the worker has crashed, and why.
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("it crashed without a message");
        browser::post(&JsValue::from_str(&format!("fatal: {message}")), &Array::new());
    }));
    let inbox = browser::inbox(&waiting);
    spawn_local(requests::RequestHandler::default().run(inbox));
}
