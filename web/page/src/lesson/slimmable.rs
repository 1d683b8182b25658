//! Step 2: what a width is.

use leptos::prelude::*;

use super::{
    Step,
    matrix::{Matrix, Slice},
    range_input::RangeInput,
};

/// Output channels of both layers.
const CHANNELS: usize = 16;
/// Channels of an image.
const COLOURS: usize = 3;

pub const STEP: Step = Step {
    title: "One network, many widths",
    text: "lesson/slimmable.html",
    control: || view! { <Widths/> }.into_any(),
    live: None,
};

/// The weights of a first and an inner layer, with a slider for the width.
#[component]
fn Widths() -> impl IntoView {
    let width = RwSignal::new(1.0);
    let channels = Signal::derive(move || (CHANNELS as f64 * width.get()) as usize);
    let label = |what: &'static str, columns: Signal<usize>| {
        Signal::derive(move || format!("{what}: {} rows and {} columns are used", channels.get(), columns.get()))
    };
    let colours = Signal::stored(COLOURS);
    view! {
        <RangeInput label="Width" value=width min=0.1 max=1.0 step=0.05 digits=2/>
        <div class="layers">
            <figure>
                <Matrix rows=CHANNELS columns=COLOURS label=label("First layer", colours)>
                    <Slice rows=channels columns=colours/>
                </Matrix>
                <figcaption>
                    "First layer"<Used used=Signal::derive(move || channels.get() * COLOURS) total=CHANNELS * COLOURS/>
                </figcaption>
            </figure>
            <figure>
                <Matrix rows=CHANNELS columns=CHANNELS label=label("Inner layer", channels)>
                    <Slice rows=channels columns=channels/>
                </Matrix>
                <figcaption>
                    "Inner layer"<Used used=Signal::derive(move || channels.get().pow(2)) total=CHANNELS.pow(2)/>
                </figcaption>
            </figure>
        </div>
        <p role="status">{move || format!("⌊{CHANNELS} · {:.2}⌋ = {} channels", width.get(), channels.get())}</p>
    }
}

/// The number of weights in use, and their share.
#[component]
fn Used(used: Signal<usize>, total: usize) -> impl IntoView {
    let percent = move || 100.0 * used.get() as f64 / total as f64;
    view! {
        <span class="used">{move || format!("{} of {total} weights, {:.0}\u{a0}%", used.get(), percent())}</span>
        <span class="share" aria-hidden="true">
            <span class="bar" style:width=move || format!("{:.0}%", percent())></span>
        </span>
    }
}
