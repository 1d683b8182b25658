//! The second step: whose gradients a weight gets.

use leptos::prelude::*;

use super::{
    Step,
    matrix::{Entry, Matrix, Slice},
};

/// Rows and columns of the weight that is drawn.
const CHANNELS: usize = 16;
/// Channels of the widths, widest first, with their names.
const WIDTHS: [(usize, &str); 4] = [(16, "1"), (12, "0.75"), (8, "0.5"), (4, "0.25")];

pub const STEP: Step = Step {
    title: "The same weights for all",
    text: "lesson/sharing.html",
    control: || view! { <Sharing/> }.into_any(),
    live: None,
};

/// A weight, with the slices of the widths that train laid over each other.
#[component]
fn Sharing() -> impl IntoView {
    let trains = WIDTHS.map(|_| RwSignal::new(true));
    // Of the weights that the width at `index` has and the next narrower one has not.
    let gradients = move |index: usize| trains[..=index].iter().filter(|trains| trains.get()).count();
    let label = Signal::derive(move || {
        let parts = (0..WIDTHS.len()).map(|index| format!("{} from {}", share(index), gradients(index)));
        format!(
            "Gradients by part of the weight, from the edge to the corner: {}",
            parts.collect::<Vec<_>>().join(", ")
        )
    });
    view! {
        <fieldset class="choices">
            <legend>"Widths that train"</legend>
            {WIDTHS.into_iter().zip(trains).map(|((_, name), trains)| view! {
                <label><input type="checkbox" prop:checked=trains on:change:target=move |event| trains.set(event.target().checked())/>{name}</label>
            }).collect_view()}
        </fieldset>
        <Matrix rows=CHANNELS columns=CHANNELS label>
            {WIDTHS.into_iter().zip(trains).map(|((channels, _), trains)| {
                let extent = Signal::stored(channels);
                view! { <Show when=move || trains.get()><Slice rows=extent columns=extent/></Show> }
            }).collect_view()}
            {WIDTHS.into_iter().enumerate().map(|(index, (channels, _))| {
                view! { <Entry row=channels - 2 column=channels - 2 text=Signal::derive(move || gradients(index).to_string())/> }
            }).collect_view()}
        </Matrix>
        <table>
            <thead><tr><th scope="col">"Weights of"</th><th scope="col">"Share"</th><th scope="col">"Gradients"</th></tr></thead>
            <tbody>
                {WIDTHS.into_iter().enumerate().map(|(index, (_, name))| view! {
                    <tr><th scope="row">{owners(index, name)}</th><td>{share(index)}</td><td>{move || gradients(index)}</td></tr>
                }).collect_view()}
            </tbody>
        </table>
    }
}

/// The part of the weight that the width at `index` has and the next narrower one has not, in sixteenths.
fn share(index: usize) -> String {
    let area = |index: usize| WIDTHS.get(index).map_or(0, |(channels, _)| channels * channels);
    format!("{}/16", (area(index) - area(index + 1)) * 16 / (CHANNELS * CHANNELS))
}

fn owners(index: usize, name: &str) -> String {
    if index == 0 { format!("width {name} alone") } else { format!("width {name} and wider") }
}
