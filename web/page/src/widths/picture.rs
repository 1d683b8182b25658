//! The choice of the picture: a sample, a file, the webcam or a drawing.

use js_sys::Uint8Array;
use leptos::{ev, prelude::*};
use slimclr_data::decode::FORMATS;

use super::{
    camera::Camera,
    drawing::Drawing,
    file_input::{self, FileInput},
    viewer::{ChosenPicture, Viewer},
};
use crate::address::{Address, Route};

/// Where pictures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Sample,
    File,
    Camera,
    Drawing,
}

const SOURCES: [(Source, &str); 4] = [
    (Source::Sample, "Sample"),
    (Source::File, "Image file"),
    (Source::Camera, "Webcam"),
    (Source::Drawing, "Drawing"),
];

/// The choice of the source, and the source's own controls.
#[component]
pub fn PicturePanel(viewer: Viewer, sample: RwSignal<usize>) -> impl IntoView {
    let source = RwSignal::new(Source::Sample);
    let address: Address = expect_context();
    let is_shown = Signal::derive(move || address.route().get() == Route::Widths);
    let show = Callback::new(move |(name, bytes): (String, Uint8Array)| {
        source.set(Source::File);
        viewer.show(ChosenPicture::File { name, bytes });
    });
    let switch_to = move |to: Source| {
        source.set(to);
        if to == Source::Sample {
            viewer.show(ChosenPicture::Sample(sample.get_untracked()));
        }
    };
    let fail = Callback::new(move |message| viewer.picture_error.set(Some(message)));
    let paste = window_event_listener(ev::paste, move |event| {
        let pasted = event.clipboard_data().and_then(|data| data.files()?.get(0));
        if let Some(image) = pasted.filter(|_| is_shown.get_untracked()) {
            file_input::read(image, show, fail);
        }
    });
    on_cleanup(move || paste.remove());
    view! {
        <section class="panel choose-picture" aria-labelledby="picture-title">
            <h2 id="picture-title">"Picture"</h2>
            <fieldset class="sources">
                <legend class="unseen">"Where the picture comes from"</legend>
                {SOURCES.map(|(this, name)| view! {
                    <label>
                        <input
                            type="radio" name="source"
                            prop:checked=move || source.get() == this on:change=move |_| switch_to(this)
                        />
                        {name}
                    </label>
                })}
            </fieldset>
            <p class="problem" role="alert">{viewer.picture_error}</p>
            {move || match source.get() {
                Source::Sample => view! { <Samples viewer sample/> }.into_any(),
                Source::File => view! {
                    <FileInput
                        label=format!("Drop, paste or choose an image ({FORMATS})")
                        accept="image/*" on_file=show on_error=fail
                    />
                }.into_any(),
                Source::Camera => view! { <Camera viewer is_shown/> }.into_any(),
                Source::Drawing => view! { <Drawing viewer/> }.into_any(),
            }}
        </section>
    }
}

/// Test images to choose from.
#[component]
fn Samples(viewer: Viewer, sample: RwSignal<usize>) -> impl IntoView {
    let choices = move || {
        let network = viewer.network.get()?;
        let choices = network.sample_labels.iter().enumerate().map(|(index, class)| {
            let name = format!("{} {}", network.class(*class).unwrap_or("test image"), index + 1);
            view! {
                <label>
                    <input
                        type="radio" name="sample"
                        prop:checked=move || sample.get() == index on:change=move |_| sample.set(index)
                    />
                    <img src=network.samples.url(index) alt=name.clone() title=name/>
                </label>
            }
        });
        Some(choices.collect_view())
    };
    view! {
        <fieldset class="samples">
            <legend class="unseen">"Test images"</legend>
            {choices}
        </fieldset>
    }
}
