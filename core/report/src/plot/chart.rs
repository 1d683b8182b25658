//! A chart as SVG.
//!
//! A chart places marks; their look is set by CSS classes, so that one SVG serves light and dark pages and print. All
//! coordinates come from [`Scale::position`], which returns `None` for a value that cannot be drawn, so no NaN
//! reaches the SVG.

use crate::{
    plot::{
        axes::{Axis, axes, colour_bar},
        drawing::Drawing,
        frame::Frame,
        labels::{EndLabel, TopLabels, end_labels},
        scale::Scale,
    },
    text::{escape, percent},
};

/// A chart under construction. Later marks cover earlier ones.
#[derive(Debug)]
pub struct Chart {
    frame: Frame,
    x: Axis,
    y: Axis,
    marks: String,
    end_labels: Vec<EndLabel>,
    top_labels: TopLabels,
}

impl Chart {
    /// Axes without marks.
    pub fn new(frame: Frame, x: Axis, y: Axis) -> Self {
        Self { frame, x, y, marks: String::new(), end_labels: Vec::new(), top_labels: TopLabels::default() }
    }

    /// Axes of a plane, named `direction` 1 and 2, which explain these fractions of a variance.
    pub fn plane(frame: Frame, scales: [Scale; 2], direction: &str, explained: [f64; 2]) -> Self {
        let axis = |index: usize, scale: Scale| {
            let share = Some(explained[index]).filter(|share| share.is_finite());
            let share = share.map(|share| format!(" ({} % of variance)", percent(share))).unwrap_or_default();
            Axis { title: format!("{direction} {}{share}", index + 1), scale }
        };
        let [x, y] = scales;
        Self::new(frame, axis(0, x), axis(1, y))
    }

    /// Returns the position of a point in user units, or `None` if it cannot be drawn.
    pub fn position(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        Some((self.frame.x(self.x.scale.position(x)?), self.frame.y(self.y.scale.position(y)?)))
    }

    /// Returns the positions of the points that can be drawn.
    pub fn positions(&self, points: &[(f64, f64)]) -> Vec<(f64, f64)> {
        points.iter().filter_map(|point| self.position(*point)).collect()
    }

    /// Returns whether a position is inside the plot, at least `margin` from its edges.
    pub fn contains(&self, (x, y): (f64, f64), margin: f64) -> bool {
        let [left, right, bottom, top] = self.frame.edges();
        (left + margin..=right - margin).contains(&x) && (top + margin..=bottom - margin).contains(&y)
    }

    /// Adds SVG elements.
    pub fn push(&mut self, svg: &str) {
        self.marks += svg;
    }

    /// Draws a vertical line with a label above it.
    pub fn vertical_line(&mut self, x: f64, label: &str) {
        let Some(fraction) = fraction(&self.x, x) else { return };
        let anchor = match fraction {
            ..0.2 => "start",
            ..=0.8 => "middle",
            _ => "end",
        };
        let x = self.frame.x(fraction);
        self.marks += &format!("{}\n{}", self.marker(x, ""), self.top_labels.add(&self.frame, x, anchor, label));
    }

    /// Draws a vertical line where options changed. Its tooltip lists all of them, its label as many as fit.
    pub fn change_line(&mut self, x: f64, changes: &[String]) {
        let Some(fraction) = fraction(&self.x, x) else { return };
        let x = self.frame.x(fraction);
        let all = changes.join(", ");
        self.marks += &self.marker(x, &all);
        let short = changes.first().filter(|_| changes.len() > 1).map(|first| format!("{first} …"));
        let label = self.top_labels.add_if_free(&self.frame, x, [Some(all), short].into_iter().flatten());
        self.marks += &label.unwrap_or_default();
    }

    fn marker(&self, x: f64, tooltip: &str) -> String {
        let [.., bottom, top] = self.frame.edges();
        match tooltip {
            "" => format!(r#"<path class="marker" d="M{x:.1},{bottom:.1}V{top:.1}"/>"#),
            _ => format!(
                r#"<path class="marker" d="M{x:.1},{bottom:.1}V{top:.1}"><title>{}</title></path>"#,
                escape(tooltip)
            ),
        }
    }

    /// Draws lines at x = 0 and at y = 0.
    pub fn zero_lines(&mut self) {
        if let Some(fraction) = fraction(&self.x, 0.0) {
            self.marks += &self.marker(self.frame.x(fraction), "");
        }
        if let Some(fraction) = fraction(&self.y, 0.0) {
            self.marks += &self.level(self.frame.y(fraction));
        }
    }

    /// Draws a horizontal line with a label at its right end.
    pub fn horizontal_line(&mut self, y: f64, label: &str) {
        let Some(fraction) = fraction(&self.y, y) else { return };
        let ([_, right, ..], y) = (self.frame.edges(), self.frame.y(fraction));
        // Below the line if there is no room above it.
        let (x, row, label) = (right - 3.0, if fraction > 0.9 { y + 12.0 } else { y - 4.0 }, escape(label));
        self.marks += &self.level(y);
        self.marks += &format!(r#"<text x="{x:.1}" y="{row:.1}" text-anchor="end">{label}</text>"#);
    }

    fn level(&self, y: f64) -> String {
        let [left, right, ..] = self.frame.edges();
        format!(r#"<path class="marker" d="M{left:.1},{y:.1}H{right:.1}"/>"#)
    }

    /// Writes a label above a point.
    pub fn label_above(&mut self, at: (f64, f64), label: &str, class: &str) {
        if let Some((x, y)) = self.position(at) {
            let (y, label) = (y - 9.0, escape(label));
            self.marks +=
                &format!(r#"<text class="label {class}" x="{x:.1}" y="{y:.1}" text-anchor="middle">{label}</text>"#);
        }
    }

    /// Writes a label to the right of the line that ends at a point.
    pub fn end_label(&mut self, at: (f64, f64), label: &str, class: &str) {
        if let Some(at) = self.position(at) {
            self.end_labels.push(EndLabel { at, text: label.into(), class: class.into() });
        }
    }

    /// Draws a colour bar to the right of the plot. `fills` are SVG attributes, one for each colour from the lowest.
    pub fn colour_bar(&mut self, axis: &Axis, fills: &[String]) {
        self.marks += &colour_bar(&self.frame, axis, fills);
    }

    /// Returns the finished chart. `id` must be unique on the page; `title` and `description` are its alternative text.
    pub fn drawing(self, id: &str, title: &str, description: &str) -> Drawing {
        let Self { frame, x, y, marks, end_labels: labels, .. } = self;
        Drawing {
            class: frame.class,
            size: [frame.width, frame.height],
            id: id.into(),
            title: title.into(),
            description: description.into(),
            marks: [axes(&frame, &x, &y), marks, end_labels(&frame, labels)].concat(),
        }
    }
}

/// Returns where `value` is on an axis, or `None` if it is outside.
fn fraction(axis: &Axis, value: f64) -> Option<f64> {
    axis.scale.position(value).filter(|fraction| (0.0..=1.0).contains(fraction))
}
