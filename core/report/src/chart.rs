//! Charts as SVG: scales with ticks, axes, lines, points and labels.
//!
//! A chart says where its marks are. How they look is the style sheet's part, by class, so that one SVG
//! serves light, dark and print. Coordinates come only from [`Scale::position`], which has none for a
//! value that cannot be drawn: no NaN reaches the SVG.

use std::ops::Range;

use crate::{
    colour::SHADES,
    drawing::Drawing,
    text::{TEXT_WIDTH, escape, scientific, superscript, thousands},
};

/// The most points a line keeps; more than that is below the width of a stroke.
pub const LINE_POINTS: usize = 600;

/// Distance between two labels at line ends that do not touch, in user units.
const LABEL_GAP: f64 = 16.0;

/// What a label takes of a line, in user units.
const LABEL_ROOM: f64 = 40.0;

/// Size of a chart and the room around its plot, in user units.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

/// A figure of its own, with room for labels at the ends of its lines.
pub const WIDE: Frame =
    Frame { class: "wide", width: 520.0, height: 316.0, left: 68.0, right: 74.0, top: 26.0, bottom: 46.0 };

/// The same, where the labels are words.
pub const NAMED: Frame = Frame { right: 116.0, ..WIDE };

/// One of several small charts side by side.
pub const PANEL: Frame =
    Frame { class: "panel", width: 400.0, height: 220.0, left: 62.0, right: 26.0, top: 22.0, bottom: 44.0 };

/// The same, with room for labels at the ends of its lines.
pub const LABELLED: Frame = Frame { right: 56.0, ..PANEL };

/// A square plot with room for a bar of colours beside it.
pub const PLANE: Frame =
    Frame { class: "panel", width: 412.0, height: 336.0, left: 62.0, right: 88.0, top: 28.0, bottom: 46.0 };

/// How values map to positions, and where the ticks stand.
#[derive(Debug, Clone)]
pub struct Scale {
    logarithmic: bool,
    from: f64,
    to: f64,
    ticks: Vec<Tick>,
}

/// A labelled value of an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The value.
    pub value: f64,
    /// Its label.
    pub label: String,
}

impl Scale {
    /// A linear scale that holds `values` and ends on ticks; none if no value is finite.
    pub fn linear(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values.into_iter().filter(|v| drawable(*v)))?;
        // Values that differ by no more than rounding would make ticks that differ in no digit.
        let (low, high) = if high - low <= 1e-9 * low.abs().max(high.abs()) {
            let margin = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
            (low - margin, high + margin)
        } else {
            (low, high)
        };
        let step = Step125::at_least((high - low) / 5.0);
        let (first, last) = ((low / step.value()).floor(), (high / step.value()).ceil());
        let ticks = step.multiples(first, last);
        Some(Self { logarithmic: false, from: first * step.value(), to: last * step.value(), ticks })
    }

    /// A linear scale between exactly these two, of which the latter must be the greater.
    pub fn between(from: f64, to: f64) -> Self {
        let step = Step125::at_least((to - from) / 5.0);
        let ticks = step.multiples((from / step.value()).ceil(), (to / step.value()).floor());
        Self { logarithmic: false, from, to, ticks }
    }

    /// Two linear scales on which the same length is the same difference, around `points`; none if no point can be drawn.
    pub fn plane(points: &[[f64; 2]]) -> Option<[Self; 2]> {
        let along = |index: usize| {
            extent(points.iter().filter(|point| point.iter().all(|v| drawable(*v))).map(|point| point[index]))
        };
        let extents = [along(0)?, along(1)?];
        let widest = extents.iter().map(|(low, high)| high - low).fold(0.0, f64::max);
        let reach = if widest > 0.0 {
            0.54 * widest
        } else {
            // A point alone still lies in a plane.
            extents.iter().map(|(low, _)| low.abs()).fold(0.0, f64::max).max(1e-9)
        };
        Some(extents.map(|(low, high)| Self::between((low + high) / 2.0 - reach, (low + high) / 2.0 + reach)))
    }

    /// A logarithmic scale that holds the positive `values` and ends on ticks; none if none is positive.
    pub fn logarithmic(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values.into_iter().filter(|v| drawable(*v) && *v > 1e-100))?;
        let (mut first, mut last) = (Step125::at_most(low), Step125::at_least(high));
        if first == last {
            (first, last) = (Step125(first.0 - 1), Step125(last.0 + 1));
        }
        // Up to two decades have room for 1, 2 and 5; beyond, every so many powers of ten do.
        let stride = match last.0 - first.0 {
            ..=7 => 1,
            thirds => 3 * (1 + thirds / 18),
        };
        let first = first.0.div_euclid(stride) * stride;
        let last = -(-last.0).div_euclid(stride) * stride;
        let ticks: Vec<Tick> = (first..=last)
            .step_by(stride as usize)
            .map(|n| Tick { value: Step125(n).value(), label: Step125(n).label() })
            .collect();
        Some(Self { logarithmic: true, from: Step125(first).value(), to: Step125(last).value(), ticks })
    }

    /// Whether equal distances are equal ratios.
    pub fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// Where `value` lies between the ends of the scale, 0 to 1; nowhere if it is not finite or lacks a
    /// logarithm.
    pub fn position(&self, value: f64) -> Option<f64> {
        let on_axis = |v: f64| if self.logarithmic { v.log10() } else { v };
        let (from, to) = (on_axis(self.from), on_axis(self.to));
        drawable(value).then(|| (on_axis(value) - from) / (to - from)).filter(|p| p.is_finite())
    }

    /// Values half-way between the labelled ones.
    pub fn half_ticks(&self) -> impl Iterator<Item = f64> {
        self.ticks.windows(2).map(|pair| match self.logarithmic {
            true => (pair[0].value * pair[1].value).sqrt(),
            false => (pair[0].value + pair[1].value) / 2.0,
        })
    }

    /// The labelled values.
    pub fn ticks(&self) -> &[Tick] {
        &self.ticks
    }
}

/// Whether differences and ratios of values like this one stay finite.
pub fn drawable(value: f64) -> bool {
    value.abs() <= 1e100
}

/// The least and the greatest of `values`.
pub fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |extent, v| Some(extent.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

/// The `n`-th number of ..., 0.5, 1, 2, 5, 10, ..., where the 0th is 1.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step125(i32);

impl Step125 {
    fn value(self) -> f64 {
        // Parsed, because a product of powers is not always the nearest number to the decimal.
        format!("{}e{}", self.mantissa(), self.exponent()).parse().expect("digits and an exponent")
    }

    fn mantissa(self) -> i32 {
        [1, 2, 5][self.0.rem_euclid(3) as usize]
    }

    fn exponent(self) -> i32 {
        self.0.div_euclid(3)
    }

    /// The largest that is not above `value`, which must be positive.
    fn at_most(value: f64) -> Self {
        let mut step = Self(3 * value.log10().floor() as i32 - 1);
        while Self(step.0 + 1).value() <= value * (1.0 + 1e-9) {
            step.0 += 1;
        }
        step
    }

    /// The smallest that is not below `value`, which must be positive.
    fn at_least(value: f64) -> Self {
        let below = Self::at_most(value);
        if below.value() >= value * (1.0 - 1e-9) { below } else { Self(below.0 + 1) }
    }

    fn label(self) -> String {
        match self.exponent() {
            exponent @ -3..=5 => thousands(self.value(), usize::try_from(-exponent).unwrap_or(0)),
            exponent if self.mantissa() == 1 => format!("10{}", superscript(exponent)),
            exponent => scientific(&self.mantissa().to_string(), exponent),
        }
    }

    /// The multiples of this step from `first` to `last` times.
    fn multiples(self, first: f64, last: f64) -> Vec<Tick> {
        let largest = self.value() * first.abs().max(last.abs());
        let label = |times: f64| {
            let decimals = usize::try_from(-self.exponent()).unwrap_or(0);
            if times == 0.0 {
                "0".into()
            } else if (1e-3..1e6).contains(&largest) {
                thousands(times * self.value(), decimals)
            } else {
                let exponent = largest.log10().floor() as i32;
                let digits = usize::try_from(exponent - self.exponent()).unwrap_or(0);
                scientific(&format!("{:.digits$}", times * self.value() / 10f64.powi(exponent)), exponent)
            }
        };
        (0..=(last - first) as usize)
            .map(|n| first + n as f64)
            .map(|times| Tick { value: times * self.value(), label: label(times) })
            .collect()
    }
}

/// A scale with its title, unit included.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What is measured, and in what unit.
    pub title: String,
    /// How it maps to positions.
    pub scale: Scale,
}

/// The shape of a point. Like its colour it stands for a width, for eyes and printers without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A disc.
    Circle,
    /// A square on its side.
    Square,
    /// A triangle on its base.
    Triangle,
    /// A square on its corner.
    Diamond,
}

impl Shape {
    /// The shape of the `index`-th width.
    pub fn of(index: usize) -> Self {
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond][index % 4]
    }

    /// The outline, relative to the centre.
    pub fn outline(self) -> &'static str {
        match self {
            Self::Circle => "m-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
            Self::Square => "m-3.6,-3.6h7.2v7.2h-7.2z",
            Self::Triangle => "m0,-4.8l4.7,8h-9.4z",
            Self::Diamond => "m0,-5l5,5l-5,5l-5,-5z",
        }
    }
}

/// A chart in the making. Marks lie over those added before them.
#[derive(Debug)]
pub struct Chart {
    frame: Frame,
    x: Axis,
    y: Axis,
    marks: String,
    ends: Vec<End>,
    /// What labels above the plot take of its width.
    labelled: Vec<Range<f64>>,
}

/// A label beside the right end of a line.
#[derive(Debug)]
struct End {
    x: f64,
    y: f64,
    label: String,
    class: String,
}

impl Chart {
    /// Axes without marks.
    pub fn new(frame: Frame, x: Axis, y: Axis) -> Self {
        Self { frame, x, y, marks: String::new(), ends: Vec::new(), labelled: Vec::new() }
    }

    fn across(&self, fraction: f64) -> f64 {
        let Frame { width, left, right, .. } = self.frame;
        left + fraction * (width - left - right)
    }

    fn down(&self, fraction: f64) -> f64 {
        let Frame { height, top, bottom, .. } = self.frame;
        height - bottom - fraction * (height - top - bottom)
    }

    /// Where a point lies, in user units.
    pub fn place(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        Some((self.across(self.x.scale.position(x)?), self.down(self.y.scale.position(y)?)))
    }

    /// Whether a place lies in the plot, and not within `margin` of its edges.
    pub fn inside(&self, (x, y): (f64, f64), margin: f64) -> bool {
        let across = self.across(0.0) + margin..=self.across(1.0) - margin;
        let down = self.down(1.0) + margin..=self.down(0.0) - margin;
        across.contains(&x) && down.contains(&y)
    }

    /// Adds a mark that is SVG already.
    pub fn mark(&mut self, svg: &str) {
        self.marks += svg;
    }

    /// A line through `points`, broken where one cannot be drawn.
    pub fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let placed: Vec<Option<(f64, f64)>> =
            thin(points, LINE_POINTS).into_iter().map(|point| self.place(point)).collect();
        let path: String = placed
            .split(Option::is_none)
            .filter(|run| !run.is_empty())
            .map(|run| {
                let run: Vec<String> = run.iter().flatten().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                // A run of one point is a dot: a line of no length with round ends.
                let tail = if run.len() == 1 { "h0" } else { "" };
                format!("M{}{tail}", run.join("L"))
            })
            .collect();
        if !path.is_empty() {
            self.marks += &format!(r#"<path class="line {class}" d="{path}"/>"#);
        }
    }

    /// A point that shows `tip` under the pointer.
    pub fn point(&mut self, at: (f64, f64), shape: Shape, class: &str, tip: &str) {
        if let Some((x, y)) = self.place(at) {
            let (outline, tip) = (shape.outline(), escape(tip));
            self.marks +=
                &format!(r#"<path class="point {class}" d="M{x:.1},{y:.1}{outline}"><title>{tip}</title></path>"#);
        }
    }

    /// A vertical bar from `low` to `high`.
    pub fn error_bar(&mut self, x: f64, [low, high]: [f64; 2], class: &str) {
        if let (Some((x, low)), Some((_, high))) = (self.place((x, low)), self.place((x, high))) {
            self.marks += &format!(r#"<path class="error {class}" d="M{x:.1},{low:.1}V{high:.1}"/>"#);
        }
    }

    /// A line across the plot at `x`, named above it.
    pub fn vertical(&mut self, x: f64, label: &str) {
        let Some(fraction) = self.x.scale.position(x).filter(|p| (0.0..=1.0).contains(p)) else {
            return;
        };
        let anchor = match fraction {
            ..0.2 => "start",
            ..=0.8 => "middle",
            _ => "end",
        };
        let (x, top, bottom) = (self.across(fraction), self.down(1.0), self.down(0.0));
        self.labelled.push(extent_of(label, x, anchor));
        let label = escape(label);
        self.marks += &format!(
            r#"<path class="marker" d="M{x:.1},{bottom:.1}V{top:.1}"/>
<text x="{x:.1}" y="{:.1}" text-anchor="{anchor}">{label}</text>"#,
            top - 6.0
        );
    }

    /// A line across the plot at `x`, where `words` hold from then on: named above it as far as there is room, in full under
    /// the pointer.
    pub fn change(&mut self, x: f64, words: &[String]) {
        let Some(fraction) = self.x.scale.position(x).filter(|p| (0.0..=1.0).contains(p)) else {
            return;
        };
        let (x, top, bottom) = (self.across(fraction), self.down(1.0), self.down(0.0));
        let all = words.join(", ");
        let tip = escape(&all);
        self.marks += &format!(r#"<path class="marker" d="M{x:.1},{bottom:.1}V{top:.1}"><title>{tip}</title></path>"#);
        let short = words.first().filter(|_| words.len() > 1).map(|first| format!("{first} …"));
        let labels = [Some(all), short].into_iter().flatten();
        let placed = labels.flat_map(|label| ["middle", "start", "end"].map(|anchor| (label.clone(), anchor)));
        for (label, anchor) in placed {
            let extent = extent_of(&label, x, anchor);
            let is_free = |other: &Range<f64>| extent.end < other.start || other.end < extent.start;
            if extent.start > 0.0 && extent.end < self.frame.width && self.labelled.iter().all(is_free) {
                let (y, label) = (top - 6.0, escape(&label));
                self.marks += &format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{label}</text>"#);
                self.labelled.push(extent);
                return;
            }
        }
    }

    /// Lines across the plot where either axis is zero.
    pub fn zero_lines(&mut self) {
        let at_zero = |axis: &Axis| axis.scale.position(0.0).filter(|p| (0.0..=1.0).contains(p));
        let (left, right, bottom, top) = (self.across(0.0), self.across(1.0), self.down(0.0), self.down(1.0));
        if let Some(x) = at_zero(&self.x).map(|p| self.across(p)) {
            self.marks += &format!(r#"<path class="marker" d="M{x:.1},{bottom:.1}V{top:.1}"/>"#);
        }
        if let Some(y) = at_zero(&self.y).map(|p| self.down(p)) {
            self.marks += &format!(r#"<path class="marker" d="M{left:.1},{y:.1}H{right:.1}"/>"#);
        }
    }

    /// A text centred above a point.
    pub fn label_above(&mut self, at: (f64, f64), label: &str, class: &str) {
        if let Some((x, y)) = self.place(at) {
            let (y, label) = (y - 9.0, escape(label));
            self.marks +=
                &format!(r#"<text class="label {class}" x="{x:.1}" y="{y:.1}" text-anchor="middle">{label}</text>"#);
        }
    }

    /// Names the line that ends at a point, in the margin to the right of the plot.
    pub fn label_end(&mut self, at: (f64, f64), label: &str, class: &str) {
        if let Some((x, y)) = self.place(at) {
            self.ends.push(End { x, y, label: escape(label), class: class.into() });
        }
    }

    /// A path through `points`, shaded from the first to the last, with its start and its end marked; broken where a point
    /// cannot be drawn.
    pub fn path(&mut self, points: &[(f64, f64)]) {
        let last = points.len().saturating_sub(1).max(1);
        for (from, to) in (0..SHADES).map(|shade| (shade * last / SHADES, (shade + 1) * last / SHADES)) {
            // Of a path with fewer steps than shades, some shades have no step.
            if let Some(stretch) = points.get(from..=to).filter(|_| to > from) {
                let shade = (from + to) * SHADES / (2 * last);
                self.line(stretch, &format!("t{}", shade.min(SHADES - 1)));
            }
        }
        self.ends_of_path(points);
    }

    /// A dark path through `points` over a light ground, with its start and its end marked.
    pub fn track(&mut self, points: &[(f64, f64)]) {
        self.line(points, "halo");
        self.line(points, "track");
        for (x, y) in points.iter().filter_map(|point| self.place(*point)).collect::<Vec<_>>() {
            self.marks += &format!(r#"<path class="waypoint" d="M{x:.1},{y:.1}h0"/>"#);
        }
        self.ends_of_path(points);
    }

    fn ends_of_path(&mut self, points: &[(f64, f64)]) {
        let placed: Vec<(f64, f64)> = points.iter().filter_map(|point| self.place(*point)).collect();
        if let [(x, y), ..] = placed[..] {
            let outline = Shape::Circle.outline();
            self.marks += &format!(r#"<path class="start" d="M{x:.1},{y:.1}{outline}"/>"#);
        }
        if let [_, .., (x, y)] = placed[..] {
            let outline = Shape::Diamond.outline();
            self.marks += &format!(r#"<path class="finish" d="M{x:.1},{y:.1}{outline}"/>"#);
        }
    }

    /// A bar beside the plot that says which colour stands for which value; `fills` are attributes of as many fields, from
    /// the lowest.
    pub fn bar(&mut self, axis: &Axis, fills: &[String]) {
        let (left, top, bottom) = (self.across(1.0) + 16.0, self.down(1.0), self.down(0.0));
        let height = (bottom - top) / fills.len() as f64;
        for (index, fill) in fills.iter().enumerate() {
            let y = bottom - (index + 1) as f64 * height;
            self.marks +=
                &format!(r#"<rect x="{left:.1}" y="{y:.2}" width="12" height="{:.2}" {fill}/>"#, height + 0.3);
        }
        self.marks += &format!(r#"<path class="axis" d="M{left:.1},{top:.1}h12V{bottom:.1}h-12z"/>"#);
        let ticks = axis.scale.ticks.iter().filter_map(|tick| Some((axis.scale.position(tick.value)?, &tick.label)));
        for (fraction, label) in ticks {
            let (x, y) = (left + 12.0, self.down(fraction));
            self.marks += &format!(
                r#"<path class="tick" d="M{x:.1},{y:.1}h4"/><text x="{:.1}" y="{y:.1}" dy=".35em">{label}</text>"#,
                x + 7.0
            );
        }
        self.marks += &format!(
            r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            self.frame.width - 4.0,
            top - 13.0,
            escape(&axis.title)
        );
    }

    /// The chart as a drawing. `id` must be the page's only one; `title` and `description` stand in for the picture where
    /// it cannot be seen.
    pub fn drawing(mut self, id: &str, title: &str, description: &str) -> Drawing {
        let Frame { class, width, height, .. } = self.frame;
        let ends = std::mem::take(&mut self.ends);
        Drawing {
            class,
            size: [width, height],
            id: id.into(),
            title: title.into(),
            description: description.into(),
            marks: [self.axes(), std::mem::take(&mut self.marks), self.end_labels(ends)].concat(),
        }
    }

    fn axes(&self) -> String {
        let [left, right, bottom, top] = [self.across(0.0), self.across(1.0), self.down(0.0), self.down(1.0)];
        let columns = self.x.scale.ticks.iter().filter_map(|tick| {
            let (x, label) = (self.across(self.x.scale.position(tick.value)?), &tick.label);
            let (end, text) = (bottom + 4.0, bottom + 6.0);
            Some(format!(
                r#"<path class="tick" d="M{x:.1},{bottom:.1}V{end:.1}"/>
<text x="{x:.1}" y="{text:.1}" dy="1em" text-anchor="middle">{label}</text>"#
            ))
        });
        let rows = self.y.scale.ticks.iter().filter_map(|tick| {
            let (y, label) = (self.down(self.y.scale.position(tick.value)?), &tick.label);
            let text = left - 6.0;
            Some(format!(
                r#"<path class="grid" d="M{left:.1},{y:.1}H{right:.1}"/>
<text x="{text:.1}" y="{y:.1}" dy=".35em" text-anchor="end">{label}</text>"#
            ))
        });
        let (middle, half_way) = ((left + right) / 2.0, (top + bottom) / 2.0);
        let (below, x_title, y_title) = (self.frame.height - 6.0, escape(&self.x.title), escape(&self.y.title));
        format!(
            r#"{}{}<path class="axis" d="M{left:.1},{bottom:.1}H{right:.1}"/>
<text x="{middle:.1}" y="{below:.1}" text-anchor="middle">{x_title}</text>
<text transform="translate(15,{half_way:.1}) rotate(-90)" text-anchor="middle">{y_title}</text>"#,
            rows.collect::<String>(),
            columns.collect::<String>(),
        )
    }

    /// Labels moved apart so that none covers another, each led to from the end of its line; those of lines that end long
    /// before the others stand there.
    fn end_labels(&self, ends: Vec<End>) -> String {
        let last = ends.iter().map(|end| end.x).fold(self.across(0.0), f64::max);
        let (mut ends, early): (Vec<End>, Vec<End>) = ends.into_iter().partition(|end| end.x > last - LABEL_ROOM);
        let early: String = early
            .iter()
            .map(|End { x, y, label, class }| {
                format!(r#"<text class="label {class}" x="{:.1}" y="{y:.1}" dy=".35em">{label}</text>"#, x + 5.0)
            })
            .collect();
        ends.sort_by(|a, b| a.y.total_cmp(&b.y));
        // Pushed down from the top or up from the bottom, labels keep their distance, and so they do at the
        // mean of both, which is nearer to their lines.
        let mut down: Vec<f64> = ends.iter().map(|end| end.y).collect();
        let mut up = down.clone();
        for n in 1..down.len() {
            down[n] = down[n].max(down[n - 1] + LABEL_GAP);
        }
        for n in (1..up.len()).rev() {
            up[n - 1] = up[n - 1].min(up[n] - LABEL_GAP);
        }
        let mut rows: Vec<f64> = down.iter().zip(&up).map(|(down, up)| (down + up) / 2.0).collect();
        let mut lowest = self.down(0.0);
        for row in rows.iter_mut().rev() {
            *row = row.min(lowest);
            lowest = *row - LABEL_GAP;
        }
        let mut highest = self.down(1.0);
        for row in &mut rows {
            *row = row.max(highest);
            highest = *row + LABEL_GAP;
        }
        let text = last + 18.0;
        let labels = ends
            .iter()
            .zip(rows)
            .map(|(End { x, y, label, class }, row)| {
                let (start, stop) = (x + 7.0, text - 3.0);
                format!(
                    r#"<path class="leader {class}" d="M{start:.1},{y:.1}L{stop:.1},{row:.1}"/>
<text class="label {class}" x="{text:.1}" y="{row:.1}" dy=".35em">{label}</text>"#
                )
            })
            .collect::<String>();
        early + &labels
    }
}

/// What `label` takes of the width, with some room around it, where it stands at `x`.
fn extent_of(label: &str, x: f64, anchor: &str) -> Range<f64> {
    const SIZE: f64 = 11.5;
    let width = SIZE * (TEXT_WIDTH * label.chars().count() as f64 + 0.5);
    let start = match anchor {
        "start" => x,
        "end" => x - width,
        _ => x - width / 2.0,
    };
    start..start + width
}

/// At most `limit` of `points`, in order, with the least and the greatest of every stretch: spikes stay.
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
            // A stretch without values is a gap, and one point of it is enough to break the line.
            _ => vec![chunk[0]],
        }
    });
    std::iter::once(*first).chain(extremes).chain([*last]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_1_2_5_and_hold_the_values() {
        let scale = Scale::linear([31.4, 73.2]).unwrap();
        assert_eq!(labels(&scale), ["30", "40", "50", "60", "70", "80"]);
        assert_eq!(scale.position(30.0), Some(0.0));
        assert_eq!(scale.position(80.0), Some(1.0));
        assert_eq!(labels(&Scale::linear([-0.013, 0.021]).unwrap()), ["-0.02", "-0.01", "0", "0.01", "0.02", "0.03"]);
        assert_eq!(labels(&Scale::linear([0.0, 3e8]).unwrap()), ["0", "1×10⁸", "2×10⁸", "3×10⁸"]);
        assert_eq!(labels(&Scale::between(0.0, 1170.0)), ["0", "500", "1,000"]);
    }

    #[test]
    fn logarithmic_ticks_are_1_2_5_then_powers_of_ten() {
        assert_eq!(labels(&Scale::logarithmic([2.7, 40.8]).unwrap()), ["2", "5", "10", "20", "50"]);
        assert_eq!(labels(&Scale::logarithmic([0.06]).unwrap()), ["0.05", "0.1"]);
        assert_eq!(labels(&Scale::logarithmic([0.003, 40.0]).unwrap()), ["0.001", "0.01", "0.1", "1", "10", "100"]);
        assert_eq!(labels(&Scale::logarithmic([1e6, 9e9]).unwrap())[0], "10⁶");
        let long = Scale::logarithmic([1e-30, 1e30]).unwrap();
        assert!(long.ticks.len() <= 8, "{:?}", labels(&long));
        assert_eq!(long.position(0.0), None);
    }

    #[test]
    fn equal_values_still_span_an_axis() {
        for value in [0.0, 5.0, -3.0, 1e-20, 1e20] {
            let scale = Scale::linear([value, value]).unwrap();
            assert!(scale.ticks.len() >= 3, "{value}: {scale:?}");
            assert!(scale.position(value).is_some_and(|p| (0.0..=1.0).contains(&p)));
        }
        assert!(Scale::logarithmic([1.0]).unwrap().ticks.len() >= 2);
    }

    #[test]
    fn what_cannot_be_drawn_has_no_scale_and_no_position() {
        assert!(Scale::linear([f64::NAN, f64::INFINITY, f64::MAX]).is_none());
        assert!(Scale::logarithmic([0.0, -1.0, f64::NAN]).is_none());
        assert_eq!(Scale::between(0.0, 1.0).position(f64::NAN), None);
    }

    #[test]
    fn thinning_keeps_ends_spikes_and_gaps() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|x| (f64::from(x), 1.0)).collect();
        points[5_000].1 = 9.0;
        points[7_000..7_200].fill((7_000.0, f64::NAN));
        let thinned = thin(&points, LINE_POINTS);
        assert!(thinned.len() <= LINE_POINTS);
        assert_eq!((thinned[0], thinned[thinned.len() - 1]), (points[0], points[9_999]));
        assert!(thinned.contains(&(5_000.0, 9.0)));
        assert!(thinned.iter().any(|(_, y)| y.is_nan()));
        assert_eq!(thin(&points[..LINE_POINTS], LINE_POINTS).len(), LINE_POINTS);
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
        chart.vertical(4.0, "a & b");
        chart.label_end((4.0, 2.0), "<1>", "w0");
        chart.label_above((4.0, f64::INFINITY), "nowhere", "w0");
        let svg = chart.drawing("f", "t", "d").element();
        let tree = roxmltree::Document::parse(&svg).unwrap();
        for attribute in tree.descendants().flat_map(|node| node.attributes()) {
            assert!(!attribute.value().contains("NaN") && !attribute.value().contains("inf"), "{attribute:?}");
        }
        // A lone point before the gap is a dot, the rest after it a line.
        assert!(svg.contains("h0M"), "{svg}");
    }

    #[test]
    fn a_line_that_ends_early_is_named_where_it_ends() {
        let mut chart = chart();
        chart.label_end((10.0, 5.0), "late", "w0");
        chart.label_end((2.0, 5.0), "early", "w1");
        let (x, _) = chart.place((2.0, 5.0)).unwrap();
        let svg = chart.drawing("f", "t", "d").element();
        assert!(svg.contains(&format!(r#"class="label w1" x="{:.1}""#, x + 5.0)), "{svg}");
        assert_eq!(svg.matches("leader").count(), 1);
    }

    #[test]
    fn a_plane_has_one_scale_for_both_axes() {
        let [x, y] = Scale::plane(&[[0.0, 1.0], [4.0, 2.0], [f64::NAN, 90.0]]).unwrap();
        let length = |scale: &Scale| scale.position(1.0).unwrap() - scale.position(0.0).unwrap();
        assert!((length(&x) - length(&y)).abs() < 1e-12);
        assert!([&x, &y].iter().all(|scale| scale.position(1.0).is_some_and(|p| (0.0..=1.0).contains(&p))));
        assert!(Scale::plane(&[[3.0, 3.0]]).is_some() && Scale::plane(&[]).is_none());
    }

    #[test]
    fn labels_at_line_ends_keep_their_distance_inside_the_plot() {
        let mut chart = chart();
        for label in ["a", "b", "c", "d"] {
            chart.label_end((10.0, 0.1), label, "w0");
        }
        let svg = chart.drawing("f", "t", "d").element();
        let tree = roxmltree::Document::parse(&svg).unwrap();
        let rows: Vec<f64> = tree
            .descendants()
            .filter(|node| node.attribute("class") == Some("label w0"))
            .filter_map(|node| node.attribute("y")?.parse().ok())
            .collect();
        assert_eq!(rows.len(), 4);
        assert!(rows.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_GAP - 0.11), "{rows:?}");
        assert!(rows[3] <= WIDE.height - WIDE.bottom);
    }
}
