//! Labels that make room for each other: at the ends of lines, and above the plot.

use std::ops::Range;

use crate::{
    plot::frame::Frame,
    text::{TEXT_WIDTH, escape},
};

/// The least distance between labels at line ends, in user units.
const LINE_HEIGHT: f64 = 16.0;

/// A line that ends this far before the others, in user units, has its label where it ends.
const EARLY: f64 = 40.0;

/// A label at the right end of a line.
#[derive(Debug)]
pub struct EndLabel {
    /// Where the line ends, in user units.
    pub at: (f64, f64),
    /// The text.
    pub text: String,
    /// CSS classes.
    pub class: String,
}

/// Draws `labels` in a column to the right, moved apart so that none covers another, and connected to their lines.
/// Labels of lines that end early stand at the lines' ends.
pub fn end_labels(frame: &Frame, labels: Vec<EndLabel>) -> String {
    let [left, _, bottom, top] = frame.edges();
    let last = labels.iter().map(|label| label.at.0).fold(left, f64::max);
    let (mut labels, early): (Vec<EndLabel>, Vec<EndLabel>) =
        labels.into_iter().partition(|label| label.at.0 > last - EARLY);
    let early: String = early
        .iter()
        .map(|EndLabel { at: (x, y), text, class }| {
            let (x, text) = (x + 5.0, escape(text));
            format!(r#"<text class="label {class}" x="{x:.1}" y="{y:.1}" dy=".35em">{text}</text>"#)
        })
        .collect();
    labels.sort_by(|a, b| a.at.1.total_cmp(&b.at.1));
    let column = last + 18.0;
    let rows = spread(labels.iter().map(|label| label.at.1).collect(), top, bottom);
    let labels = labels.iter().zip(rows).map(|(EndLabel { at: (x, y), text, class }, row)| {
        let (start, stop, text) = (x + 7.0, column - 3.0, escape(text));
        format!(
            r#"<path class="leader {class}" d="M{start:.1},{y:.1}L{stop:.1},{row:.1}"/>
<text class="label {class}" x="{column:.1}" y="{row:.1}" dy=".35em">{text}</text>"#
        )
    });
    early + &labels.collect::<String>()
}

/// Returns the ascending coordinates `ends`, moved apart to keep [`LINE_HEIGHT`] between them and to lie between `top`
/// and `bottom`.
fn spread(ends: Vec<f64>, top: f64, bottom: f64) -> Vec<f64> {
    // Pushing all labels down or all labels up keeps the distance. So does the mean of both, which is nearer to the
    // lines.
    let (mut down, mut up) = (ends.clone(), ends);
    for n in 1..down.len() {
        down[n] = down[n].max(down[n - 1] + LINE_HEIGHT);
    }
    for n in (1..up.len()).rev() {
        up[n - 1] = up[n - 1].min(up[n] - LINE_HEIGHT);
    }
    let mut rows: Vec<f64> = down.iter().zip(&up).map(|(down, up)| (down + up) / 2.0).collect();
    let mut lowest = bottom;
    for row in rows.iter_mut().rev() {
        *row = row.min(lowest);
        lowest = *row - LINE_HEIGHT;
    }
    let mut highest = top;
    for row in &mut rows {
        *row = row.max(highest);
        highest = *row + LINE_HEIGHT;
    }
    rows
}

/// The row of labels above the plot.
#[derive(Debug, Default)]
pub struct TopLabels {
    /// The x ranges that have a label.
    taken: Vec<Range<f64>>,
}

impl TopLabels {
    /// Draws `text` at `x`, even where it covers another label.
    pub fn add(&mut self, frame: &Frame, x: f64, anchor: &str, text: &str) -> String {
        self.taken.push(x_range(text, x, anchor));
        let [.., top] = frame.edges();
        let (y, text) = (top - 6.0, escape(text));
        format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#)
    }

    /// Draws the first of `texts` that fits at `x` without covering another label, or nothing if none fits.
    pub fn add_if_free(&mut self, frame: &Frame, x: f64, texts: impl IntoIterator<Item = String>) -> Option<String> {
        let candidates =
            texts.into_iter().flat_map(|text| ["middle", "start", "end"].map(|anchor| (text.clone(), anchor)));
        let fits = |(text, anchor): &(String, &str)| {
            let range = x_range(text, x, anchor);
            let is_free = |other: &Range<f64>| range.end < other.start || other.end < range.start;
            range.start > 0.0 && range.end < frame.width && self.taken.iter().all(is_free)
        };
        let (text, anchor) = candidates.into_iter().find(fits)?;
        Some(self.add(frame, x, anchor, &text))
    }
}

/// Returns the x range of `text`, with some space around it.
fn x_range(text: &str, x: f64, anchor: &str) -> Range<f64> {
    const FONT_SIZE: f64 = 11.5;
    let width = FONT_SIZE * (TEXT_WIDTH * text.chars().count() as f64 + 0.5);
    let start = match anchor {
        "start" => x,
        "end" => x - width,
        _ => x - width / 2.0,
    };
    start..start + width
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::frame::WIDE;

    #[test]
    fn labels_at_line_ends_keep_their_distance_inside_the_plot() {
        for ends in [vec![195.0; 4], vec![10.0; 4], vec![20.0, 90.0, 91.0, 190.0]] {
            let rows = spread(ends, 10.0, 200.0);
            assert!(rows.windows(2).all(|pair| pair[1] - pair[0] >= LINE_HEIGHT - 1e-9), "{rows:?}");
            assert!(rows.iter().all(|row| (10.0..=200.0).contains(row)), "{rows:?}");
        }
    }

    #[test]
    fn a_line_that_ends_early_has_its_label_where_it_ends() {
        let label = |x: f64, text: &str| EndLabel { at: (x, 90.0), text: text.into(), class: text.into() };
        let svg = end_labels(&WIDE, vec![label(400.0, "late"), label(100.0, "early")]);
        assert!(svg.contains(r#"class="label early" x="105.0""#), "{svg}");
        assert_eq!(svg.matches("leader").count(), 1);
    }
}
