//! HTML documents, fragments and figures.

use crate::{
    catalog,
    plot::{
        colour,
        figure::{Figure, Missing, Panel, groups},
        legend::{LegendItem, Symbol},
    },
    runs::Runs,
    text::escape,
};

/// Returns an HTML document. `class` is the class of the `body` element, `widths` the number of colours.
pub fn document(name: &str, class: &str, widths: usize, body: &str) -> String {
    let name = escape(name);
    // The content security policy makes browsers refuse any external resource.
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" 
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{name} – SlimCLR report</title>
<link rel="icon" href="data:,">
<style>
{}
{}
{}
</style>
</head>
<body class="{class}">
<header><p class="kind">SlimCLR report</p><h1>{name}</h1></header>
<main>
{body}
</main>
</body>
</html>
"#,
        concat!(include_str!("page.css"), include_str!("figure.css"), include_str!("article.css")),
        include_str!("../plot/chart.css"),
        colour::page_css(widths),
    )
}

/// Returns `html` in an element that the CSS of [`fragment_css`] applies to.
pub fn fragment(html: &str) -> String {
    format!(r#"<div class="report">{html}</div>"#)
}

/// Returns the CSS of fragments, for up to this many widths.
pub fn fragment_css(widths: usize) -> String {
    let css = concat!(include_str!("figure.css"), include_str!("../plot/chart.css"), include_str!("fragment.css"));
    format!("{}.report{{{css}}}", colour::page_css(widths))
}

/// Returns the sections about interference between widths.
pub fn interference(runs: &Runs) -> String {
    catalog::interference(runs).map(|figure| section(figure.title, &figure.parts)).join("\n")
}

/// Returns a paragraph that says why something is missing.
pub fn missing(reason: &str) -> String {
    format!(r#"<p class="missing">{}</p>"#, escape(reason))
}

/// Returns a section with a heading and the figures `parts`.
pub fn section(heading: &str, parts: &[Result<Figure, Missing>]) -> String {
    format!("<section><h2>{heading}</h2>{}</section>", elements(parts))
}

/// Returns figures, or why they are missing, one below the other.
pub fn elements(parts: &[Result<Figure, Missing>]) -> String {
    let mut parts: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Ok(figure) => element(figure),
            Err(reason) => missing(reason),
        })
        .collect();
    // Several parts may be missing for the same reason.
    parts.dedup();
    parts.concat()
}

fn element(Figure { panels, legend, caption, notes, omitted }: &Figure) -> String {
    let drawn = panels.iter().find_map(|panel| panel.content.as_ref().ok());
    let class = match drawn.map(|drawing| drawing.class) {
        Some("wide") => "single",
        Some("tile") => "tiles",
        _ => "panels",
    };
    let charts = groups(panels).into_iter().map(|(heading, panels)| {
        let element = heading.map(|heading| format!(r#"<h3 class="group">{}</h3>"#, escape(heading)));
        let panels = panels.iter().map(|panel| {
            let heading = if heading.is_some() { panel.heading.clone() } else { panel.full_heading() };
            self::panel(panel, &heading)
        });
        format!(r#"{}<div class="charts">{}</div>"#, element.unwrap_or_default(), panels.collect::<String>())
    });
    let charts: String = charts.collect();
    let items: String = legend.iter().map(LegendItem::element).collect();
    let legend = if items.is_empty() { items } else { format!(r#"<ul class="key">{items}</ul>"#) };
    let notes: String = notes.iter().map(|note| format!(r#"<p class="note">{}</p>"#, escape(note))).collect();
    let omitted = omitted.as_deref().map(missing).unwrap_or_default();
    format!(
        r#"<figure class="{class}"><div>{charts}</div>
<figcaption>{legend}<p>{}</p>{notes}{omitted}</figcaption></figure>"#,
        escape(caption)
    )
}

fn panel(panel: &Panel, heading: &str) -> String {
    let content = match &panel.content {
        Ok(drawing) => drawing.element(),
        Err(reason) => missing(reason),
    };
    let (class, swatch) = match panel.width {
        Some(index) => (format!(r#" class="w{index}""#), Symbol::Width(index).swatch()),
        None => Default::default(),
    };
    let heading = match heading {
        "" => String::new(),
        heading => format!("<h4{class}>{swatch}{}</h4>", escape(heading)),
    };
    format!("<div>{heading}{content}</div>")
}
