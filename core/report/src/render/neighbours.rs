//! Test images with their nearest training images.

use crate::{
    history::RunHistory,
    plot::legend::Symbol,
    render::{html, img},
    report::Neighbours,
    text::{escape, width},
};

/// Returns the section about nearest neighbours.
pub fn section(history: &RunHistory, neighbours: &[Neighbours]) -> String {
    let body = if neighbours.is_empty() {
        html::missing("No neighbours are recorded; “slimclr evaluate” finds them.")
    } else {
        let queries: String = neighbours.iter().map(|query| query_with_neighbours(history, query)).collect();
        format!(
            r#"<p>Each test image with its nearest training images in the embedding of each width, nearest first. A
solid frame and a tick mark the same class, a dashed frame and a cross another one: look for widths that confuse
classes.</p><div class="queries">{queries}</div>"#
        )
    };
    format!("<section><h2>Nearest neighbours</h2>{body}</section>")
}

fn query_with_neighbours(history: &RunHistory, Neighbours { query, class, per_width }: &Neighbours) -> String {
    let rows = per_width.iter().map(|(value, neighbours)| {
        let same = neighbours.iter().filter(|(_, other)| other == class).count();
        let images = neighbours.iter().map(|(image, other)| {
            let (kind, text) = if other == class { ("same", "same class") } else { ("other", "another class") };
            format!(
                r#"<li class="{kind}">{}<span>{}</span></li>"#,
                img::element(image, &format!("{other}, {text}")),
                escape(other)
            )
        });
        let images: String = images.collect();
        let swatch = history
            .widths()
            .iter()
            .position(|width| width == value)
            .map(|index| Symbol::Width(index).swatch())
            .unwrap_or_default();
        format!(r#"<h3>{swatch}{} <span>{same} of {}</span></h3><ol>{images}</ol>"#, width(*value), neighbours.len())
    });
    let rows: String = rows.collect();
    format!(
        r#"<article><div class="query">{}<span>{}</span></div><div class="widths">{rows}</div></article>"#,
        img::element(query, &format!("test image of class {class}")),
        escape(class)
    )
}
