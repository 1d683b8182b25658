//! Reports of training runs: an HTML page without external resources, and figures as SVG files.
//!
//! Everything is drawn from the events of runs. This crate reads and writes no files, and builds for the browser too.

#![warn(missing_docs)]

mod catalog;
mod config_diff;
mod figures;
mod history;
mod plot;
mod render;
mod report;
mod runs;
pub mod surface3d;
mod text;

pub use figures::{
    accuracy_by_time::{System, SystemNetwork},
    learned_nothing,
};
pub use report::{LabelledPicture, Neighbours, Report};
pub use text::{capitalized, compact, count, duration, escape, fixed};

use catalog::NamedFigure;
use figures::accuracy_by_time;
use history::RunHistory;
use render::{comparison, run_report, svg, widths_table};
use runs::Runs;

/// Returns the report of one run, or the comparison of several, as an HTML document. It says which parts are missing.
pub fn html(reports: &[Report]) -> String {
    match reports {
        [report] => run_report::document(report),
        _ => comparison::document(reports),
    }
}

/// A figure as an SVG file.
#[derive(Debug)]
pub struct FigureFile {
    /// The file name without an extension.
    pub name: &'static str,
    /// The SVG; none if no run has what the figure shows.
    pub svg: Option<String>,
    /// What is not drawn, and why.
    pub missing: Vec<String>,
}

/// A figure as an HTML fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The name of the same figure among [`figures()`].
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// An element without ids and without a heading, for pages with the CSS of [`style`]. It says what cannot be drawn.
    pub html: String,
}

/// Returns the figures of one run, or of several side by side with the same time axis, as HTML fragments: `losses`,
/// `accuracy`, `measures`, `figure3`, `stages`, `cosines`, `figure4` and `figure5`. A run may still be in progress.
pub fn sections(reports: &[Report]) -> Vec<Section> {
    let section = |figure: NamedFigure| {
        let (name, title) = (figure.name, figure.title);
        Section { name, title, html: render::html::fragment(&render::html::elements(&figure.without_ids().parts)) }
    };
    catalog::all(&Runs::new(reports)).into_iter().map(section).collect()
}

/// Returns a table of the cost of each width and its accuracy, or measures that need no labels, as an HTML fragment;
/// `None` if the run has not started.
pub fn table(report: &Report) -> Option<String> {
    Some(render::html::fragment(&widths_table::table(&RunHistory::from_events(&report.events)?)))
}

/// Returns the CSS of [`sections`] and [`table`]s, for up to this many widths.
///
/// It affects nothing else, but defines the colours `--paper`, `--ink`, `--soft`, `--rule`, `--grid`, `--box` and those
/// of the widths, `--w0`, `--w1`, ..., for light and dark pages, and the classes `w0`, `w1`, ... that use them.
pub fn style(widths: usize) -> String {
    render::html::fragment_css(widths)
}

/// Returns the figures of [`sections`] as SVG files, by the same names.
pub fn figures(reports: &[Report]) -> Vec<FigureFile> {
    let runs = Runs::new(reports);
    let file = |figure: &NamedFigure| FigureFile {
        name: figure.name,
        svg: svg::of_runs(figure, &runs),
        missing: figure.missing(),
    };
    catalog::all(&runs).iter().map(file).collect()
}

/// Returns the figure `accuracy-by-time` as an SVG file: the accuracy of systems' networks against the time of their
/// pre-training, each system beside `reference`.
pub fn accuracy_by_time(reference: &System, others: &[System]) -> FigureFile {
    let widths = accuracy_by_time::widths(reference, others);
    let figure = NamedFigure {
        name: "accuracy-by-time",
        title: "Accuracy against the time of pre-training",
        parts: vec![accuracy_by_time::accuracy_by_time(reference, others, &widths)],
    };
    FigureFile {
        name: figure.name,
        svg: svg::document(&figure, figure.title, &[], widths.len()),
        missing: figure.missing(),
    }
}

/// Returns the names of the runs without a `started` event, which cannot be drawn.
pub fn blank(reports: &[Report]) -> Vec<String> {
    Runs::new(reports).not_started
}
