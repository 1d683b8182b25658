//! Legends: what the symbols of a figure mean.

use crate::{
    plot::{colour, marks::Shape},
    text::{TEXT_WIDTH, escape, width},
};

/// A symbol with its meaning.
#[derive(Debug, Clone)]
pub struct LegendItem {
    symbol: Symbol,
    label: String,
}

/// A symbol of a legend.
#[derive(Debug, Clone)]
pub enum Symbol {
    /// The point of a width, by the width's index.
    Width(usize),
    /// A round point with these CSS classes.
    Point(&'static str),
    /// A line with these CSS classes.
    Line(&'static str),
    /// A dark path with a light outline.
    OutlinedPath,
    /// The start of a path.
    Start,
    /// The end of a path.
    Finish,
    /// A cell with this fill.
    Cell(String),
    /// The outline of a cell with a negative value.
    Negative,
    /// A cell without a value.
    NoValue,
}

impl Symbol {
    /// Returns the symbol as an `svg` element for use next to text.
    pub fn swatch(&self) -> String {
        let (reach, marks) = self.marks();
        let width = 2.0 * reach;
        format!(r#"<svg class="swatch" viewBox="-{reach} -6 {width} 12" aria-hidden="true">{marks}</svg>"#)
    }

    /// Returns half the width of the symbol, and its marks around the origin.
    fn marks(&self) -> (f64, String) {
        let outlined = |class: &str, shape: Shape| format!(r#"<path class="{class}" d="M0,0{}"/>"#, shape.outline());
        match self {
            Self::Width(index) => (6.0, outlined(&format!("point w{index}"), Shape::of(*index))),
            Self::Point(class) => (6.0, outlined(&format!("point {class}"), Shape::Circle)),
            Self::Line(class) => (11.0, format!(r#"<path class="line {class}" d="M-11,0H11"/>"#)),
            Self::Start => (6.0, outlined("start", Shape::Circle)),
            Self::Finish => (6.0, outlined("finish", Shape::Diamond)),
            Self::OutlinedPath => (
                11.0,
                r#"<path class="line halo" d="M-9,0H9"/><path class="line track" d="M-9,0H9"/>"#.into(),
            ),
            Self::Cell(fill) => (
                6.0,
                format!(r#"<path class="cells" {fill} d="M-5,-5h10v10h-10z"/><path class="tick" d="M-5,-5h10v10h-10z"/>"#),
            ),
            Self::Negative => {
                let (fill, _) = colour::diverging(-0.3);
                let outline = r#"<path class="negative" d="M-3,-3h6v6h-6z"/>"#;
                (6.0, format!(r#"<path class="cells" {fill} d="M-5,-5h10v10h-10z"/>{outline}"#))
            }
            Self::NoValue => (
                6.0,
                r#"<path class="cells void" d="M-5,-5h10v10h-10z"/><path class="void-cross" d="M-3,-3l6,6m0,-6l-6,6"/>"#
                    .into(),
            ),
        }
    }
}

impl LegendItem {
    /// `symbol` means what `label` says.
    pub fn new(symbol: Symbol, label: impl Into<String>) -> Self {
        Self { symbol, label: label.into() }
    }

    /// Returns the item as an `li` element.
    pub fn element(&self) -> String {
        format!("<li>{}{}</li>", self.symbol.swatch(), escape(&self.label))
    }

    /// Returns the item as a `g` element for a larger SVG, and its width in user units.
    pub fn group_at(&self, [x, y]: [f64; 2]) -> (String, f64) {
        let (reach, marks) = self.symbol.marks();
        let text = 2.0 * reach + 5.0;
        let svg = format!(
            r#"<g transform="translate({x:.1},{y:.1})"><g transform="translate({reach},0)">{marks}</g><text class="prose" x="{text}" dy=".35em">{}</text></g>"#,
            escape(&self.label)
        );
        (svg, text + 12.5 * TEXT_WIDTH * self.label.chars().count() as f64)
    }
}

/// Returns the legend of `widths`.
pub fn widths_legend(widths: &[f64]) -> Vec<LegendItem> {
    let item = |(index, value): (usize, &f64)| LegendItem::new(Symbol::Width(index), width(*value));
    widths.iter().enumerate().map(item).collect()
}
