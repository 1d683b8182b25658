//! The browser's page: controls, live figures, the lesson. It computes nothing of a network: its workers do.
#![cfg(target_family = "wasm")]

mod address;
mod app;
mod download;
mod fetch;
mod files;
mod lab;
mod lesson;
mod link;
mod surface;
mod train;
mod widths;

use wasm_bindgen::prelude::wasm_bindgen;

/// Shows the page.
#[wasm_bindgen(start)]
pub fn start() {
    app::mount();
}
