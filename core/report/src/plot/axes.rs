//! Axes and colour bars.

use crate::{
    plot::{frame::Frame, scale::Scale},
    text::escape,
};

/// A scale with its title.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What is measured, with its unit.
    pub title: String,
    /// How values map to positions.
    pub scale: Scale,
}

/// Draws both axes with ticks, grid lines and titles.
pub fn axes(frame: &Frame, x: &Axis, y: &Axis) -> String {
    let [left, right, bottom, top] = frame.edges();
    let columns = x.scale.ticks().iter().filter_map(|tick| {
        let (x, label) = (frame.x(x.scale.position(tick.value)?), &tick.label);
        let (end, text) = (bottom + 4.0, bottom + 6.0);
        Some(format!(
            r#"<path class="tick" d="M{x:.1},{bottom:.1}V{end:.1}"/>
<text x="{x:.1}" y="{text:.1}" dy="1em" text-anchor="middle">{label}</text>"#
        ))
    });
    let rows = y.scale.ticks().iter().filter_map(|tick| {
        let (y, label) = (frame.y(y.scale.position(tick.value)?), &tick.label);
        let text = left - 6.0;
        Some(format!(
            r#"<path class="grid" d="M{left:.1},{y:.1}H{right:.1}"/>
<text x="{text:.1}" y="{y:.1}" dy=".35em" text-anchor="end">{label}</text>"#
        ))
    });
    let (middle, half_way) = ((left + right) / 2.0, (top + bottom) / 2.0);
    let (below, x_title, y_title) = (frame.height - 6.0, escape(&x.title), escape(&y.title));
    format!(
        r#"{}{}<path class="axis" d="M{left:.1},{bottom:.1}H{right:.1}"/>
<text x="{middle:.1}" y="{below:.1}" text-anchor="middle">{x_title}</text>
<text transform="translate(15,{half_way:.1}) rotate(-90)" text-anchor="middle">{y_title}</text>"#,
        rows.collect::<String>(),
        columns.collect::<String>(),
    )
}

/// Draws a colour bar to the right of the plot. `fills` are SVG attributes, one for each colour from the lowest.
pub fn colour_bar(frame: &Frame, axis: &Axis, fills: &[String]) -> String {
    let [_, right, bottom, top] = frame.edges();
    let left = right + 16.0;
    let height = (bottom - top) / fills.len() as f64;
    let mut marks = String::new();
    for (index, fill) in fills.iter().enumerate() {
        let y = bottom - (index + 1) as f64 * height;
        marks += &format!(r#"<rect x="{left:.1}" y="{y:.2}" width="12" height="{:.2}" {fill}/>"#, height + 0.3);
    }
    marks += &format!(r#"<path class="axis" d="M{left:.1},{top:.1}h12V{bottom:.1}h-12z"/>"#);
    for tick in axis.scale.ticks() {
        let Some(fraction) = axis.scale.position(tick.value) else { continue };
        let (x, y, label) = (left + 12.0, frame.y(fraction), &tick.label);
        marks += &format!(
            r#"<path class="tick" d="M{x:.1},{y:.1}h4"/><text x="{:.1}" y="{y:.1}" dy=".35em">{label}</text>"#,
            x + 7.0
        );
    }
    marks += &format!(
        r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
        frame.width - 4.0,
        top - 13.0,
        escape(&axis.title)
    );
    marks
}
