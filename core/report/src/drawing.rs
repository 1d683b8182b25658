//! A picture in vector form, apart from where it is shown.

use crate::text::escape;

/// Marks in a frame of known size, with words for those who cannot see them.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// What kind of picture it is to the style sheet.
    pub class: &'static str,
    /// Size in user units.
    pub size: [f64; 2],
    /// A name that no other drawing of a page has; empty where it cannot be known what else the page holds.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// What can be seen in it.
    pub description: String,
    /// The marks, as SVG.
    pub marks: String,
}

impl Drawing {
    /// The drawing as an element of a page, as wide as there is room.
    pub fn element(&self) -> String {
        let Self { class, size: [width, height], id, title, description, marks } = self;
        if id.is_empty() {
            let words = escape(&format!("{title}. {description}"));
            return format!(
                r#"<svg class="chart {class}" viewBox="0 0 {width} {height}" role="img" aria-label="{words}"
 xmlns="http://www.w3.org/2000/svg">{marks}</svg>"#
            );
        }
        format!(
            r#"<svg class="chart {class}" viewBox="0 0 {width} {height}" role="img"
 aria-labelledby="{id}-title {id}-desc" xmlns="http://www.w3.org/2000/svg">
{}{marks}</svg>"#,
            self.words()
        )
    }

    /// The drawing as a part of an SVG, with its upper left corner at a place.
    pub fn placed(&self, [x, y]: [f64; 2]) -> String {
        let Self { class, marks, .. } = self;
        format!(r#"<g class="chart {class}" transform="translate({x:.1},{y:.1})">{}{marks}</g>"#, self.words())
    }

    fn words(&self) -> String {
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
