//! A matrix of the agreement of each pair of widths.

use crate::{
    plot::{colour, drawing::Drawing},
    text::{escape, percent},
};

/// The largest size of a matrix, and the margins for the names of rows and columns, in user units.
const SIZE: [f64; 2] = [206.0, 192.0];
const LEFT: f64 = 36.0;
const TOP: f64 = 24.0;
/// The largest side of a cell, and the least that leaves space for a conflict rate.
const MAX_CELL: f64 = 62.0;
const RATE_CELL: f64 = 32.0;

/// The agreement of two widths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pair {
    /// Cosine between their gradients.
    pub cosine: Option<f64>,
    /// Conflict rate: the fraction of weight tensors with a negative cosine.
    pub conflict: Option<f64>,
}

/// Draws the lower triangle of a matrix: one cell for each pair of `names`. `pair` takes the row and the column, both
/// as indices of names.
pub fn draw(id: &str, title: &str, names: &[String], pair: impl Fn(usize, usize) -> Pair) -> Drawing {
    let count = names.len().saturating_sub(1).max(1);
    let side = ((SIZE[0] - LEFT - 2.0) / count as f64).min((SIZE[1] - TOP - 2.0) / count as f64).min(MAX_CELL);
    let at = |index: usize| index as f64 * side;
    let mut marks = String::new();
    let mut description = String::new();
    for (column, name) in names.iter().take(count).enumerate() {
        let (x, name) = (LEFT + at(column) + side / 2.0, escape(name));
        marks += &format!(r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{name}</text>"#, TOP - 7.0);
    }
    for (row, name) in names.iter().enumerate().skip(1) {
        let top = TOP + at(row - 1);
        let (middle, label) = (top + side / 2.0, escape(name));
        marks += &format!(r#"<text x="{:.1}" y="{middle:.1}" dy=".35em" text-anchor="end">{label}</text>"#, LEFT - 6.0);
        for (column, other) in names.iter().take(row).enumerate() {
            let left = LEFT + at(column);
            let Pair { cosine, conflict } = pair(row, column);
            marks += &cell([left, top], side, cosine, conflict);
            let conflict = conflict.map(|rate| format!(", {} % in conflict", percent(rate))).unwrap_or_default();
            description += &match cosine {
                Some(cosine) => format!("{name} and {other}: {cosine:.2}{conflict}. "),
                None => format!("{name} and {other}: not measured. "),
            };
        }
    }
    Drawing {
        class: "tile",
        size: [SIZE[0], TOP + at(count) + 6.0],
        id: id.into(),
        title: title.into(),
        description: description.trim_end().into(),
        marks,
    }
}

fn cell([left, top]: [f64; 2], side: f64, cosine: Option<f64>, conflict: Option<f64>) -> String {
    let (x, y, inner) = (left + side / 2.0, top + side / 2.0, side - 2.0);
    let Some(cosine) = cosine else {
        return format!(
            r#"<path class="cells void" d="M{left:.1},{top:.1}h{inner:.1}v{inner:.1}h-{inner:.1}z"/>
<path class="void-cross" d="M{:.1},{:.1}l8,8m0,-8l-8,8"/>"#,
            x - 4.0,
            y - 4.0
        );
    };
    let (fill, ink) = colour::diverging(cosine);
    let mut marks =
        format!(r#"<path class="cells" {fill} d="M{left:.1},{top:.1}h{inner:.1}v{inner:.1}h-{inner:.1}z"/>"#);
    if cosine < 0.0 {
        // Inset, to be seen on dark pages too.
        let (left, top, inner) = (left + 3.0, top + 3.0, inner - 6.0);
        marks += &format!(r#"<path class="negative" d="M{left:.1},{top:.1}h{inner:.1}v{inner:.1}h-{inner:.1}z"/>"#);
    }
    let conflict = conflict.filter(|_| side >= RATE_CELL);
    let (middle, small) =
        if conflict.is_some() { (y - 6.0, "") } else { (y, if side < RATE_CELL { " small" } else { "" }) };
    // A minus sign instead of a hyphen.
    let number = format!("{cosine:.2}").replace('-', "−");
    marks += &format!(
        r#"<text class="strong {ink}{small}" x="{x:.1}" y="{middle:.1}" dy=".35em" text-anchor="middle">{number}</text>"#
    );
    if let Some(rate) = conflict {
        marks += &format!(
            r#"<text class="small {ink}" x="{x:.1}" y="{:.1}" dy=".35em" text-anchor="middle">{:.0} %</text>"#,
            y + 9.0,
            100.0 * rate
        );
    }
    marks
}
