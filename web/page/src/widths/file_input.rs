//! A file input that also accepts dropped files.

use js_sys::Uint8Array;
use leptos::{ev, prelude::*};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::File;

use crate::files;

/// An input for one file. `on_file` receives its name and bytes, `on_error` an error message for the user.
#[component]
pub fn FileInput(
    #[prop(into)] label: String,
    accept: &'static str,
    on_file: Callback<(String, Uint8Array)>,
    on_error: Callback<String>,
) -> impl IntoView {
    let over = RwSignal::new(false);
    let take = move |file: Option<File>| {
        if let Some(file) = file {
            read(file, on_file, on_error);
        }
    };
    let drop = move |event: ev::DragEvent| {
        event.prevent_default();
        over.set(false);
        take(event.data_transfer().and_then(|data| data.files()?.get(0)));
    };
    let hover = move |event: ev::DragEvent| {
        event.prevent_default();
        over.set(true);
    };
    view! {
        <label
            class="file-input" class:over=over
            on:drop=drop on:dragover=hover on:dragleave=move |_| over.set(false)
        >
            <span>{label}</span>
            <input type="file" class="unseen" accept=accept on:change:target=move |event| {
                take(files::take_chosen(&event.target()).pop().map(|(_, file)| file));
            }/>
        </label>
    }
}

/// Reads a file, and calls one of the callbacks.
pub fn read(file: File, on_file: Callback<(String, Uint8Array)>, on_error: Callback<String>) {
    spawn_local(async move {
        match JsFuture::from(file.array_buffer()).await {
            Ok(buffer) => on_file.run((file.name(), Uint8Array::new(&buffer))),
            Err(_) => on_error.run(format!("{} could not be read. Choose it again.", file.name())),
        }
    });
}
