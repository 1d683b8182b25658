//! Which picture is looked at: a sample, a file, what a camera sees, or a drawing.

use js_sys::Uint8Array;
use leptos::{ev, prelude::*};

use super::{
    camera::Camera,
    drawing::Drawing,
    file::{self, FilePlace},
    look::{Chosen, Look},
};
use crate::address::{self, Address};

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

/// The picture's source, and what belongs to the one that is chosen.
#[component]
pub fn PicturePanel(look: Look, sample: RwSignal<usize>) -> impl IntoView {
    let source = RwSignal::new(Source::Sample);
    let address: Address = expect_context();
    let here = Signal::derive(move || address.room().get() == address::Room::Widths);
    let take = Callback::new(move |(name, bytes): (String, Uint8Array)| {
        source.set(Source::File);
        look.show(Chosen::File { name, bytes });
    });
    let turn_to = move |to: Source| {
        source.set(to);
        if to == Source::Sample {
            look.show(Chosen::Sample(sample.get_untracked()));
        }
    };
    let fail = Callback::new(move |words| look.picture_trouble.set(Some(words)));
    let paste = window_event_listener(ev::paste, move |event| {
        let pasted = event.clipboard_data().and_then(|data| data.files()?.get(0));
        if let Some(image) = pasted.filter(|_| here.get_untracked()) {
            file::read(image, take, fail);
        }
    });
    on_cleanup(move || paste.remove());
    view! {
        <section class="panel choose-picture" aria-labelledby="picture-title">
            <h2 id="picture-title">"Picture"</h2>
            <fieldset class="sources">
                <legend class="unseen">"Where the picture comes from"</legend>
                {SOURCES.map(|(this, name)| view! {
                    <label><input type="radio" name="source" prop:checked=move || source.get() == this on:change=move |_| turn_to(this)/>{name}</label>
                })}
            </fieldset>
            <p class="problem" role="alert">{look.picture_trouble}</p>
            {move || match source.get() {
                Source::Sample => view! { <Samples look sample/> }.into_any(),
                Source::File => view! {
                    <FilePlace label="Drop, paste or choose an image (JPEG, PNG, WebP)" accept="image/jpeg,image/png,image/webp" on_file=take on_trouble=fail/>
                }.into_any(),
                Source::Camera => view! { <Camera look here/> }.into_any(),
                Source::Drawing => view! { <Drawing look/> }.into_any(),
            }}
        </section>
    }
}

/// Test images to choose from.
#[component]
fn Samples(look: Look, sample: RwSignal<usize>) -> impl IntoView {
    let choices = move || {
        let network = look.network.get()?;
        let choices = network.sample_labels.iter().enumerate().map(|(index, class)| {
            let name = format!("{} {}", network.class(*class), index + 1);
            view! {
                <label>
                    <input type="radio" name="sample" prop:checked=move || sample.get() == index on:change=move |_| sample.set(index)/>
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
