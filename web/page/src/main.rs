//! The browser's page: controls, live figures, the lesson. It computes nothing of a network: its workers do.

#[cfg(target_family = "wasm")]
mod address;
#[cfg(target_family = "wasm")]
mod app;
#[cfg(target_family = "wasm")]
mod download;
#[cfg(target_family = "wasm")]
mod fetch;
#[cfg(target_family = "wasm")]
mod files;
#[cfg(target_family = "wasm")]
mod lab;
#[cfg(target_family = "wasm")]
mod lesson;
#[cfg(target_family = "wasm")]
mod link;
#[cfg(target_family = "wasm")]
mod surface;
#[cfg(target_family = "wasm")]
mod train;
#[cfg(target_family = "wasm")]
mod widths;

#[cfg(target_family = "wasm")]
fn main() {
    app::mount();
}

#[cfg(not(target_family = "wasm"))]
fn main() {}
