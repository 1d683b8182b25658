//! What each width does and has learned, in numbers and bars.

use leptos::prelude::*;

use super::super::run_events::{RunEvents, WidthStatus};

/// The readings of one width.
#[derive(Debug, Clone, PartialEq)]
struct Reading {
    width: f64,
    /// Norm of its gradient, and its share of the largest.
    gradient: Option<(f64, f64)>,
    /// Pictures that it finds by their views, out of all.
    found: Option<(usize, usize)>,
    /// kNN accuracy, now and before training, from 0 to 1.
    knn: Option<(f64, f64)>,
}

/// The readings of each width.
#[component]
pub fn Readout(run: RunEvents) -> impl IntoView {
    let readings = Memo::new(move |_| readings(run));
    move || (!readings.with(Vec::is_empty)).then(|| table(readings.get()))
}

fn readings(run: RunEvents) -> Vec<Reading> {
    let norms = run.gradient_norms();
    let largest = norms.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let found = run.with_pairs(|at| (at.pairs.found.clone(), at.pairs.images));
    let of_width = |(index, status): (usize, &WidthStatus)| Reading {
        width: status.width,
        gradient: norms.get(index).map(|norm| (*norm, norm / largest)),
        found: found.as_ref().and_then(|(found, images)| Some((*found.get(index)?, *images))),
        knn: status.knn.zip(status.knn_untrained),
    };
    run.status().map_or_else(Vec::new, |status| status.widths.iter().enumerate().map(of_width).collect())
}

fn table(readings: Vec<Reading>) -> AnyView {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let row = |(index, reading): (usize, Reading)| {
        let gradient = reading.gradient.map(|(norm, share)| (share, None, format!("{norm:.2}")));
        let found = reading.found.map(|(found, of)| (found as f64 / of as f64, None, format!("{found} of {of}")));
        let knn = reading.knn.map(|(now, before)| (now, Some(before), percent(now)));
        let cells: String = [gradient, found, knn].map(|reading| cell(index, reading)).concat();
        let width = reading.width;
        format!(r#"<tr><th scope="row"><span class="swatch w{index}"></span>{width}</th>{cells}</tr>"#)
    };
    let rows: String = readings.into_iter().enumerate().map(row).collect();
    view! {
        <table class="readout">
            <thead><tr>
                <th scope="col">"Width"</th><th scope="col">"Gradient"</th><th scope="col">"Finds its picture"</th>
                <th scope="col">
                    <abbr title="Accuracy on test images, classified by their nearest training images; the mark is before training">
                        "kNN accuracy"
                    </abbr>
                </th>
            </tr></thead>
            <tbody inner_html=rows></tbody>
        </table>
    }
    .into_any()
}

/// Returns a cell with a bar, from 0 to 1, a mark on it, and a text.
fn cell(width: usize, reading: Option<(f64, Option<f64>, String)>) -> String {
    let Some((share, mark, text)) = reading else { return "<td>–</td>".into() };
    let length = |share: f64| format!("{:.1}%", 100.0 * share);
    let mark = mark.map(|mark| format!(r#"<i style="left:{}"></i>"#, length(mark))).unwrap_or_default();
    format!(
        r#"<td><span class="meter"><b class="w{width}" style="width:{}"></b>{mark}</span>{text}</td>"#,
        length(share)
    )
}
