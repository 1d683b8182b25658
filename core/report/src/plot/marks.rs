//! Marks on a chart: lines, points, error bars and paths.

use crate::{
    plot::{chart::Chart, colour::PATH_SHADES},
    text::escape,
};

/// The most points of a line; more could not be told apart.
pub const MAX_LINE_POINTS: usize = 600;

/// The shape of a point. It identifies a width where colours cannot be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A disc.
    Circle,
    /// A square with horizontal sides.
    Square,
    /// A triangle that points up.
    Triangle,
    /// A square that stands on a corner.
    Diamond,
}

impl Shape {
    /// Returns the shape of the width with this index.
    pub fn of(index: usize) -> Self {
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond][index % 4]
    }

    /// Returns the outline as SVG path commands relative to the centre.
    pub fn outline(self) -> &'static str {
        match self {
            Self::Circle => "m-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
            Self::Square => "m-3.6,-3.6h7.2v7.2h-7.2z",
            Self::Triangle => "m0,-4.8l4.7,8h-9.4z",
            Self::Diamond => "m0,-5l5,5l-5,5l-5,-5z",
        }
    }
}

impl Chart {
    /// Draws a line through `points`, broken where one cannot be drawn.
    pub fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let positions: Vec<Option<(f64, f64)>> =
            thin(points, MAX_LINE_POINTS).into_iter().map(|point| self.position(point)).collect();
        let path: String = positions
            .split(Option::is_none)
            .filter(|part| !part.is_empty())
            .map(|part| {
                let part: Vec<String> = part.iter().flatten().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                // A line of length 0 with round ends draws a single point as a dot.
                let tail = if part.len() == 1 { "h0" } else { "" };
                format!("M{}{tail}", part.join("L"))
            })
            .collect();
        if !path.is_empty() {
            self.push(&format!(r#"<path class="line {class}" d="{path}"/>"#));
        }
    }

    /// Draws a point with a tooltip.
    pub fn point(&mut self, at: (f64, f64), shape: Shape, class: &str, tooltip: &str) {
        if let Some((x, y)) = self.position(at) {
            let (outline, tooltip) = (shape.outline(), escape(tooltip));
            self.push(&format!(
                r#"<path class="point {class}" d="M{x:.1},{y:.1}{outline}"><title>{tooltip}</title></path>"#
            ));
        }
    }

    /// Draws a vertical bar from `low` to `high`.
    pub fn error_bar(&mut self, x: f64, [low, high]: [f64; 2], class: &str) {
        if let (Some((x, low)), Some((_, high))) = (self.position((x, low)), self.position((x, high))) {
            self.push(&format!(r#"<path class="error {class}" d="M{x:.1},{low:.1}V{high:.1}"/>"#));
        }
    }

    /// Draws a path through `points`, coloured by time, with its start and its end marked.
    pub fn shaded_path(&mut self, points: &[(f64, f64)]) {
        let last = points.len().saturating_sub(1).max(1);
        for (from, to) in (0..PATH_SHADES).map(|shade| (shade * last / PATH_SHADES, (shade + 1) * last / PATH_SHADES)) {
            // A path of fewer steps than shades skips some shades.
            if let Some(stretch) = points.get(from..=to).filter(|_| to > from) {
                let shade = (from + to) * PATH_SHADES / (2 * last);
                self.line(stretch, &format!("t{}", shade.min(PATH_SHADES - 1)));
            }
        }
        self.path_ends(points);
    }

    /// Draws a dark path with a light outline through `points`, with each point, the start and the end marked.
    pub fn outlined_path(&mut self, points: &[(f64, f64)]) {
        self.line(points, "halo");
        self.line(points, "track");
        for (x, y) in self.positions(points) {
            self.push(&format!(r#"<path class="waypoint" d="M{x:.1},{y:.1}h0"/>"#));
        }
        self.path_ends(points);
    }

    fn path_ends(&mut self, points: &[(f64, f64)]) {
        let positions = self.positions(points);
        if let [(x, y), ..] = positions[..] {
            let outline = Shape::Circle.outline();
            self.push(&format!(r#"<path class="start" d="M{x:.1},{y:.1}{outline}"/>"#));
        }
        if let [_, .., (x, y)] = positions[..] {
            let outline = Shape::Diamond.outline();
            self.push(&format!(r#"<path class="finish" d="M{x:.1},{y:.1}{outline}"/>"#));
        }
    }
}

/// Returns at most `limit` of `points`, in order. Each stretch keeps its smallest and its largest value, so that spikes
/// stay.
fn thin(points: &[(f64, f64)], limit: usize) -> Vec<(f64, f64)> {
    let [first, inner @ .., last] = points else {
        return points.to_vec();
    };
    if points.len() <= limit {
        return points.to_vec();
    }
    let stretch = inner.len().div_ceil((limit - 2) / 2);
    let extremes = inner.chunks(stretch).flat_map(|chunk| {
        let finite = || chunk.iter().enumerate().filter(|(_, (_, y))| y.is_finite());
        let by_value = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
        match (finite().min_by(by_value), finite().max_by(by_value)) {
            (Some((low, _)), Some((high, _))) if low == high => vec![chunk[low]],
            (Some((low, _)), Some((high, _))) => vec![chunk[low.min(high)], chunk[low.max(high)]],
            // A stretch without finite values is a gap: one point of it is enough to break the line.
            _ => vec![chunk[0]],
        }
    });
    std::iter::once(*first).chain(extremes).chain([*last]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{axes::Axis, frame::WIDE, scale::Scale};

    #[test]
    fn thinning_keeps_ends_spikes_and_gaps() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), 1.0)).collect();
        points[5_000].1 = 9.0;
        points[7_000..7_200].fill((7_000.0, f64::NAN));
        let thinned = thin(&points, MAX_LINE_POINTS);
        assert!(thinned.len() <= MAX_LINE_POINTS);
        assert_eq!((thinned[0], thinned[thinned.len() - 1]), (points[0], points[9_999]));
        assert!(thinned.contains(&(5_000.0, 9.0)));
        assert!(thinned.iter().any(|(_, y)| y.is_nan()));
        assert_eq!(thin(&points[..MAX_LINE_POINTS], MAX_LINE_POINTS).len(), MAX_LINE_POINTS);
    }

    fn chart() -> Chart {
        let axis = |title: &str| Axis { title: title.into(), scale: Scale::linear([0.0, 10.0]).unwrap() };
        Chart::new(WIDE, axis("x < 1 & \"y\""), axis("y"))
    }

    #[test]
    fn the_svg_is_well_formed_and_has_no_nan() {
        let mut chart = chart();
        chart.line(&[(0.0, 1.0), (1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 1.0), (4.0, 2.0)], "w0");
        chart.point((f64::NAN, 1.0), Shape::Circle, "w0", "");
        chart.point((1.0, 1.0), Shape::Diamond, "w0", "<tip>");
        chart.error_bar(1.0, [0.5, f64::NAN], "w0");
        chart.error_bar(1.0, [0.5, 1.5], "w0");
        chart.vertical_line(4.0, "a & b");
        chart.end_label((4.0, 2.0), "<1>", "w0");
        chart.label_above((4.0, f64::INFINITY), "nowhere", "w0");
        let svg = chart.drawing("f", "t", "d").element();
        let tree = roxmltree::Document::parse(&svg).unwrap();
        for attribute in tree.descendants().flat_map(|node| node.attributes()) {
            assert!(!attribute.value().contains("NaN") && !attribute.value().contains("inf"), "{attribute:?}");
        }
        // The single point before the gap is a dot, the points after it are a line.
        assert!(svg.contains("h0M"), "{svg}");
    }
}
