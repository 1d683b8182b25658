//! The page: controls, live figures, the lesson. All computation on networks happens in its workers.
#![cfg(target_family = "wasm")]

mod address;
mod app;
mod data;
mod download;
mod fetch;
mod files;
mod lesson;
mod pixels;
mod surface;
mod train;
mod widths;
mod worker_code;
mod worker_handle;

use wasm_bindgen::prelude::wasm_bindgen;

/// Shows the page.
#[wasm_bindgen(start)]
pub fn start() {
    app::mount();
}
