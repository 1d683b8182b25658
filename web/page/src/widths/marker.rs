//! Class markers: a shape and a colour each, so that classes can be told apart without colour vision.

/// Shapes within 5 units of the origin.
const SHAPES: [&str; 10] = [
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M-3.6 -3.6h7.2v7.2h-7.2z",
    "M0 -4.8L4.6 3.4H-4.6z",
    "M0 4.8L4.6 -3.4H-4.6z",
    "M0 -5L4.2 0L0 5L-4.2 0z",
    "M-1.5 -4.6h3v3.1h3.1v3h-3.1v3.1h-3v-3.1h-3.1v-3h3.1z",
    "M-4.5 -2.4L-2.4 -4.5L0 -2.1L2.4 -4.5L4.5 -2.4L2.1 0L4.5 2.4L2.4 4.5L0 2.1L-2.4 4.5L-4.5 2.4L-2.1 0z",
    "M0 -5L1.5 -1.6L4.9 -1.5L2.2 0.8L3.1 4.3L0 2.3L-3.1 4.3L-2.2 0.8L-4.9 -1.5L-1.5 -1.6z",
    "M-4.6 -2h9.2v4h-9.2z",
    "M-2 -4.6h4v9.2h-4z",
];

/// Colours on white, after Paul Tol's colour-blind safe scheme *muted*; in `widths.css`, they are `--k0` to `--k9`.
pub const ON_WHITE: [&str; 10] =
    ["#332288", "#117733", "#cc6677", "#2f94c4", "#8a8a1f", "#882255", "#259882", "#aa4499", "#b98a0f", "#6b7280"];

/// Returns the shape of a class; shapes repeat after the tenth class.
pub fn shape(class: u32) -> &'static str {
    SHAPES[class as usize % SHAPES.len()]
}

/// Returns the index of a class's colour.
pub fn colour(class: u32) -> usize {
    class as usize % ON_WHITE.len()
}

/// Returns a class marker for a line of text, as HTML.
pub fn html(class: u32) -> String {
    let (shape, colour) = (shape(class), colour(class));
    format!(
        r#"<svg class="marker" viewBox="-6 -6 12 12" aria-hidden="true"><path d="{shape}" fill="var(--k{colour})"/></svg>"#
    )
}
