//! Choosing a file: by a dialogue, or by dropping it on the place.

use js_sys::Uint8Array;
use leptos::{ev, prelude::*};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::File;

use crate::files;

/// A place for one file. `on_file` has its name and its bytes, `on_trouble` why it cannot be read, in a sentence.
#[component]
pub fn FilePlace(
    label: &'static str,
    accept: &'static str,
    on_file: Callback<(String, Uint8Array)>,
    on_trouble: Callback<String>,
) -> impl IntoView {
    let over = RwSignal::new(false);
    let take = move |file: Option<File>| {
        if let Some(file) = file {
            read(file, on_file, on_trouble);
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
        <label class="file-place" class:over=over on:drop=drop on:dragover=hover on:dragleave=move |_| over.set(false)>
            <span>{label}</span>
            <input type="file" class="unseen" accept=accept on:change:target=move |event| {
                take(files::chosen(&event.target()).pop().map(|(_, file)| file));
            }/>
        </label>
    }
}

/// Reads a file.
pub fn read(file: File, on_file: Callback<(String, Uint8Array)>, on_trouble: Callback<String>) {
    spawn_local(async move {
        match JsFuture::from(file.array_buffer()).await {
            Ok(buffer) => on_file.run((file.name(), Uint8Array::new(&buffer))),
            Err(_) => on_trouble.run(format!("{} cannot be read: was it moved? Choose it again.", file.name())),
        }
    });
}
