//! A drawing of a layer's weight matrix, with slices highlighted.

use leptos::prelude::*;

/// Side of an entry in SVG units.
const ENTRY: usize = 10;

/// A weight matrix of `rows` × `columns` entries; `children` are drawn on it.
#[component]
pub fn Matrix(
    rows: usize,
    columns: usize,
    /// A description for screen readers.
    #[prop(into)]
    label: Signal<String>,
    children: Children,
) -> impl IntoView {
    let (width, height) = (columns * ENTRY, rows * ENTRY);
    let across: String = (1..rows).map(|row| format!("M0 {}h{width}", row * ENTRY)).collect();
    let down: String = (1..columns).map(|column| format!("M{} 0v{height}", column * ENTRY)).collect();
    view! {
        <svg
            class="matrix" role="img" aria-label=label viewBox=format!("-1 -1 {} {}", width + 2, height + 2)
            style:width=format!("calc({columns}.2 * var(--entry))")
        >
            <rect class="ground" width=width height=height/>
            {children()}
            <path class="entries" d=across + &down/>
            <rect class="frame" width=width height=height/>
        </svg>
    }
}

/// Highlights the leading `rows` × `columns` entries.
#[component]
pub fn Slice(#[prop(into)] rows: Signal<usize>, #[prop(into)] columns: Signal<usize>) -> impl IntoView {
    let extent = |entries: Signal<usize>| move || format!("{}px", entries.get() * ENTRY);
    view! { <rect class="slice" style:width=extent(columns) style:height=extent(rows)/> }
}

/// Writes a text into the entry at `row` and `column`.
#[component]
pub fn Entry(row: usize, column: usize, #[prop(into)] text: Signal<String>) -> impl IntoView {
    let middle = |index: usize| index * ENTRY + ENTRY / 2;
    view! { <text class="entry" x=middle(column) y=middle(row)>{text}</text> }
}
