//! Step 3: which widths' gradients a weight receives.

use leptos::prelude::*;

use super::{
    Step,
    matrix::{Entry, Matrix, Slice},
};

/// Rows and columns of the weight matrix.
const CHANNELS: usize = 16;
/// Channels and name of each width, widest first.
const WIDTHS: [(usize, &str); 4] = [(16, "1"), (12, "0.75"), (8, "0.5"), (4, "0.25")];

pub const STEP: Step = Step {
    title: "Shared weights",
    text: "lesson/sharing.html",
    control: || view! { <Sharing/> }.into_any(),
    live: None,
};

/// A weight matrix with the slices of the widths that train, on top of each other.
#[component]
fn Sharing() -> impl IntoView {
    let trains = WIDTHS.map(|_| RwSignal::new(true));
    // Counts the gradients of the weights that the width at `index` has and the next narrower one lacks.
    let gradients = move |index: usize| trains[..=index].iter().filter(|trains| trains.get()).count();
    let label = Signal::derive(move || {
        let parts = (0..WIDTHS.len()).map(|index| format!("{} from {}", share(index), gradients(index)));
        format!(
            "Number of gradients for each part of the matrix, from the outer edge to the corner: {}",
            parts.collect::<Vec<_>>().join(", ")
        )
    });
    let rows = move || {
        let row = |index: usize| {
            let (users, share, gradients) = (users(index, WIDTHS[index].1), share(index), gradients(index));
            format!(r#"<tr><th scope="row">{users}</th><td>{share}</td><td>{gradients}</td></tr>"#)
        };
        (0..WIDTHS.len()).map(row).collect::<String>()
    };
    view! {
        <fieldset class="choices">
            <legend>"Widths that train"</legend>
            {WIDTHS.into_iter().zip(trains).map(|((_, name), trains)| view! {
                <label>
                    <input
                        type="checkbox" prop:checked=trains
                        on:change:target=move |event| trains.set(event.target().checked())
                    />
                    {name}
                </label>
            }).collect_view()}
        </fieldset>
        <Matrix rows=CHANNELS columns=CHANNELS label>
            {WIDTHS.into_iter().zip(trains).map(|((channels, _), trains)| {
                let extent = Signal::stored(channels);
                view! { <Show when=move || trains.get()><Slice rows=extent columns=extent/></Show> }
            }).collect_view()}
            {WIDTHS.into_iter().enumerate().map(|(index, (channels, _))| {
                let text = Signal::derive(move || gradients(index).to_string());
                view! { <Entry row=channels - 2 column=channels - 2 text/> }
            }).collect_view()}
        </Matrix>
        <table>
            <thead><tr>
                <th scope="col">"Weights used by"</th><th scope="col">"Share"</th><th scope="col">"Gradients"</th>
            </tr></thead>
            <tbody inner_html=rows></tbody>
        </table>
    }
}

/// Returns the share of the matrix that the width at `index` has and the next narrower one lacks, in sixteenths.
fn share(index: usize) -> String {
    let area = |index: usize| WIDTHS.get(index).map_or(0, |(channels, _)| channels * channels);
    format!("{}/16", (area(index) - area(index + 1)) * 16 / (CHANNELS * CHANNELS))
}

fn users(index: usize, name: &str) -> String {
    if index == 0 { format!("width {name} only") } else { format!("width {name} and wider") }
}
