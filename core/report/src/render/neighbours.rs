//! Test images with their nearest training images.

use crate::{
    history::RunHistory,
    plot::legend::Symbol,
    render::{html, img},
    report::{LabelledPicture, Neighbours},
    text::{escape, width},
};

/// Returns the section about nearest neighbours.
pub fn section(history: &RunHistory, neighbours: &[Neighbours]) -> String {
    let body = if neighbours.is_empty() {
        html::missing("No neighbours are recorded; “slimclr evaluate” finds them.")
    } else {
        let what_to_look_for = if neighbours.iter().any(|it| it.query.class.is_some()) {
            "A solid frame and a tick mark the same class, a dashed frame and a cross another one: look for widths that \
             confuse classes."
        } else {
            "Look for what the neighbours of an image have in common with it, and for widths at which they have less."
        };
        let queries: String = neighbours.iter().map(|query| query_with_neighbours(history, query)).collect();
        format!(
            r#"<p>Each test image with its nearest training images by the features of each width, nearest first.
{what_to_look_for}</p><div class="queries">{queries}</div>"#
        )
    };
    format!("<section><h2>Nearest neighbours</h2>{body}</section>")
}

fn query_with_neighbours(history: &RunHistory, Neighbours { query, per_width }: &Neighbours) -> String {
    let rows = per_width.iter().map(|(value, neighbours)| {
        let index = history.widths().iter().position(|width| width == value);
        let swatch = index.map(|index| Symbol::Width(index).swatch()).unwrap_or_default();
        let same = query.class.as_ref().map(|class| {
            let same = neighbours.iter().filter(|neighbour| neighbour.class.as_ref() == Some(class)).count();
            format!(" <span>{same} of {}</span>", neighbours.len())
        });
        let pictures: String = neighbours.iter().enumerate().map(|(rank, it)| neighbour(query, it, rank)).collect();
        format!("<h3>{swatch}{}{}</h3><ol>{pictures}</ol>", width(*value), same.unwrap_or_default())
    });
    let rows: String = rows.collect();
    let (text, caption) = match &query.class {
        Some(class) => (format!("test image of class {class}"), format!("<span>{}</span>", escape(class))),
        None => ("test image".into(), String::new()),
    };
    format!(
        r#"<article><div class="query">{}{caption}</div><div class="widths">{rows}</div></article>"#,
        img::element(&query.image, &text)
    )
}

fn neighbour(query: &LabelledPicture, neighbour: &LabelledPicture, rank: usize) -> String {
    let Some(class) = &neighbour.class else {
        return format!("<li>{}</li>", img::element(&neighbour.image, &format!("neighbour {}", rank + 1)));
    };
    let (kind, text) =
        if query.class.as_ref() == Some(class) { ("same", "same class") } else { ("other", "another class") };
    format!(
        r#"<li class="{kind}">{}<span>{}</span></li>"#,
        img::element(&neighbour.image, &format!("{class}, {text}")),
        escape(class)
    )
}
