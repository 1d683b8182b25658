//! The first step: what a width is.

use leptos::prelude::*;

use super::{
    Step,
    dial::Dial,
    matrix::{Matrix, Slice},
};

/// Channels of the layers that are drawn.
const CHANNELS: usize = 16;
/// Channels of an image.
const COLOURS: usize = 3;

pub const STEP: Step = Step {
    title: "One network, many widths",
    text: "lesson/slimmable.html",
    control: || view! { <Widths/> }.into_any(),
    live: None,
};

/// A first and an inner layer's weights, of which a slider chooses the slice.
#[component]
fn Widths() -> impl IntoView {
    let width = RwSignal::new(1.0);
    let channels = Signal::derive(move || (CHANNELS as f64 * width.get()) as usize);
    let label = |what: &'static str, columns: Signal<usize>| {
        Signal::derive(move || format!("{what}: {} rows and {} columns are in use", channels.get(), columns.get()))
    };
    let colours = Signal::stored(COLOURS);
    view! {
        <Dial label="Width" value=width min=0.1 max=1.0 step=0.05 digits=2/>
        <div class="layers">
            <figure>
                <Matrix rows=CHANNELS columns=COLOURS label=label("First layer", colours)>
                    <Slice rows=channels columns=colours/>
                </Matrix>
                <figcaption>"First layer"<Kept kept=Signal::derive(move || channels.get() * COLOURS) of=CHANNELS * COLOURS/></figcaption>
            </figure>
            <figure>
                <Matrix rows=CHANNELS columns=CHANNELS label=label("Inner layer", channels)>
                    <Slice rows=channels columns=channels/>
                </Matrix>
                <figcaption>"Inner layer"<Kept kept=Signal::derive(move || channels.get().pow(2)) of=CHANNELS.pow(2)/></figcaption>
            </figure>
        </div>
        <p role="status">{move || format!("⌊{CHANNELS} · {:.2}⌋ = {} channels", width.get(), channels.get())}</p>
    }
}

/// How many weights of all are in use.
#[component]
fn Kept(kept: Signal<usize>, of: usize) -> impl IntoView {
    view! {
        <span class="kept">{move || format!("{} of {of} weights, {:.0}\u{a0}%", kept.get(), 100.0 * kept.get() as f64 / of as f64)}</span>
        <span class="share" aria-hidden="true"><span class="bar" style:width=move || format!("{}%", 100 * kept.get() / of)></span></span>
    }
}
