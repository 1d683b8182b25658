//! The legend of a figure.

use crate::{
    chart::Shape,
    colour,
    text::{TEXT_WIDTH, escape},
};

/// What a mark of a figure stands for.
#[derive(Debug, Clone)]
pub struct Key {
    mark: Mark,
    label: String,
}

/// A mark that needs to be explained.
#[derive(Debug, Clone)]
pub enum Mark {
    /// The point of a width, by its place among the widths.
    Width(usize),
    /// A line with these classes.
    Rule(&'static str),
    /// A path over a light ground.
    Track,
    /// Where a path begins.
    Start,
    /// Where a path ends.
    Finish,
    /// A cell with this fill.
    Cell(String),
    /// The frame of what is negative.
    Negative,
    /// A cell without a value.
    Void,
}

impl Mark {
    /// The mark beside a text, which says the same.
    pub fn swatch(&self) -> String {
        let (reach, marks) = self.drawn();
        let width = 2.0 * reach;
        format!(r#"<svg class="swatch" viewBox="-{reach} -6 {width} 12" aria-hidden="true">{marks}</svg>"#)
    }

    /// How far it reaches to either side, and itself around the origin.
    fn drawn(&self) -> (f64, String) {
        let outlined = |class: &str, shape: Shape| format!(r#"<path class="{class}" d="M0,0{}"/>"#, shape.outline());
        match self {
            Self::Width(index) => (6.0, outlined(&format!("point w{index}"), Shape::of(*index))),
            Self::Rule(class) => (11.0, format!(r#"<path class="line {class}" d="M-11,0H11"/>"#)),
            Self::Start => (6.0, outlined("start", Shape::Circle)),
            Self::Finish => (6.0, outlined("finish", Shape::Diamond)),
            Self::Track => (
                11.0,
                r#"<path class="line halo" d="M-9,0H9"/><path class="line track" d="M-9,0H9"/>"#.into(),
            ),
            Self::Cell(fill) => (
                6.0,
                format!(r#"<path class="cells" {fill} d="M-5,-5h10v10h-10z"/><path class="tick" d="M-5,-5h10v10h-10z"/>"#),
            ),
            Self::Negative => {
                let (fill, _) = colour::diverging(-0.3);
                let frame = r#"<path class="negative" d="M-3,-3h6v6h-6z"/>"#;
                (6.0, format!(r#"<path class="cells" {fill} d="M-5,-5h10v10h-10z"/>{frame}"#))
            }
            Self::Void => (
                6.0,
                r#"<path class="cells void" d="M-5,-5h10v10h-10z"/><path class="void-cross" d="M-3,-3l6,6m0,-6l-6,6"/>"#
                    .into(),
            ),
        }
    }
}

impl Key {
    /// `mark` stands for what `label` says.
    pub fn new(mark: Mark, label: impl Into<String>) -> Self {
        Self { mark, label: label.into() }
    }

    /// As an item of a list on the page.
    pub fn item(&self) -> String {
        format!("<li>{}{}</li>", self.mark.swatch(), escape(&self.label))
    }

    /// As a part of an SVG that begins at a place, and how wide it is, both in user units.
    pub fn placed(&self, [x, y]: [f64; 2]) -> (String, f64) {
        let (reach, marks) = self.mark.drawn();
        let text = 2.0 * reach + 5.0;
        let svg = format!(
            r#"<g transform="translate({x:.1},{y:.1})"><g transform="translate({reach},0)">{marks}</g><text class="prose" x="{text}" dy=".35em">{}</text></g>"#,
            escape(&self.label)
        );
        (svg, text + 12.5 * TEXT_WIDTH * self.label.chars().count() as f64)
    }
}
