//! A picture as SVG marks, for an HTML page or for an SVG file.

use crate::text::escape;

/// A picture of known size with its alternative text.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// CSS class, by the kind of chart.
    pub class: &'static str,
    /// Width and height in user units.
    pub size: [f64; 2],
    /// Unique on the page; empty if the page may hold other drawings with the same id.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// What can be seen in it.
    pub description: String,
    /// SVG elements.
    pub marks: String,
}

impl Drawing {
    /// Returns the drawing as an `svg` element that fills the available width.
    pub fn element(&self) -> String {
        let Self { class, size: [width, height], id, title, description, marks } = self;
        if id.is_empty() {
            let label = escape(&format!("{title}. {description}"));
            return format!(
                r#"<svg class="chart {class}" viewBox="0 0 {width} {height}" role="img" aria-label="{label}"
 xmlns="http://www.w3.org/2000/svg">{marks}</svg>"#
            );
        }
        format!(
            r#"<svg class="chart {class}" viewBox="0 0 {width} {height}" role="img"
 aria-labelledby="{id}-title {id}-desc" xmlns="http://www.w3.org/2000/svg">
{}{marks}</svg>"#,
            self.alternative_text()
        )
    }

    /// Returns the drawing as a `g` element for a larger SVG, with its upper left corner at `x`, `y`.
    pub fn group_at(&self, [x, y]: [f64; 2]) -> String {
        let Self { class, marks, .. } = self;
        let text = self.alternative_text();
        format!(r#"<g class="chart {class}" transform="translate({x:.1},{y:.1})">{text}{marks}</g>"#)
    }

    fn alternative_text(&self) -> String {
        let Self { id, title, description, .. } = self;
        format!(
            r#"<title id="{id}-title">{}</title>
<desc id="{id}-desc">{}</desc>
"#,
            escape(title),
            escape(description)
        )
    }
}
