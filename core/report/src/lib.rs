//! What runs have recorded, as figures: one HTML page that holds everything it shows and asks the network for nothing, and
//! figures as files of their own. It reads no file and builds for the browser too.

mod change;
mod chart;
mod colour;
mod comparison;
mod course;
mod drawing;
mod figure;
mod heat_map;
mod interference;
mod key;
mod matrix;
mod page;
mod picture;
mod plate;
mod record;
pub mod relief;
mod runs;
mod sheet;
mod stage_norms;
mod text;

pub use figure::learned_nothing;
pub use text::{compact, count, duration};

use plate::Plate;
use record::Record;
use runs::Runs;
use slimclr_data::image::Image;
use slimclr_run::{event::Event, interference::landscape::Landscape};

/// What a report is made from.
#[derive(Debug, Clone)]
pub struct Report {
    /// The run's name.
    pub name: String,
    /// Its events, in order; a resumed run has all of them.
    pub events: Vec<Event>,
    /// Its loss landscape, where one was computed.
    pub landscape: Option<Landscape>,
    /// Test images with their nearest training images.
    pub neighbours: Vec<Neighbours>,
}

/// An image and its nearest neighbours in the embedding of each width.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// The image whose neighbours these are.
    pub query: Image,
    /// Its class.
    pub class: String,
    /// For each width its neighbours with their classes, nearest first.
    pub per_width: Vec<(f64, Vec<(Image, String)>)>,
}

/// The report of one run, or the comparison of several, as an HTML document. Parts that a run does not have are named as
/// missing.
pub fn html(reports: &[Report]) -> String {
    match reports {
        [report] => page::document(report),
        _ => comparison::document(reports),
    }
}

/// A figure as a file of its own.
#[derive(Debug)]
pub struct FigureFile {
    /// Its name, without an extension.
    pub name: &'static str,
    /// The figure; none if no run has what it shows.
    pub svg: Option<String>,
    /// What is not drawn, and why.
    pub missing: Vec<String>,
}

/// A figure as a fragment of HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The name of the file that [`figures`] makes of it.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// An element without ids and without a heading of its own; it needs the rules of [`style`]. What cannot be drawn is
    /// said in its place.
    pub html: String,
}

/// The figures of one run, or of several side by side on one time axis, for a page that shows them as they are by now:
/// `losses`, `accuracy`, `figure3`, `stages`, `cosines`, `figure4`, `figure5`.
pub fn sections(reports: &[Report]) -> Vec<Section> {
    let plates = plate::all(&Runs::read(reports)).into_iter();
    plates
        .map(|plate| Section { name: plate.name, title: plate.title, html: fragment(&plate.into_anonymous()) })
        .collect()
}

fn fragment(plate: &Plate) -> String {
    enclosed(&page::elements(&plate.parts))
}

/// What [`style`] applies to.
fn enclosed(html: &str) -> String {
    format!(r#"<div class="report">{html}</div>"#)
}

/// Each width of a run in numbers, as a fragment of HTML; none if its events hold no beginning.
pub fn table(report: &Report) -> Option<String> {
    Some(enclosed(&page::table(&Record::read(&report.events)?)))
}

/// The style sheet of [`sections`] and [`table`]s, for runs of so many different widths. It touches nothing outside of
/// them, but defines the colours `--paper`, `--ink`, `--soft`, `--rule`, `--grid`, `--box` and those of the widths, `--w0`,
/// `--w1`, ..., for light and dark, and the classes `w0`, `w1`, ... that have them.
pub fn style(widths: usize) -> String {
    let [figure, chart, fragment] =
        [include_str!("figure.css"), include_str!("chart.css"), include_str!("fragment.css")];
    format!("{}.report{{{figure}{chart}{fragment}}}", colour::rules(widths))
}

/// The figures as files, of all `reports` side by side: those of [`sections`], by the same names.
pub fn figures(reports: &[Report]) -> Vec<FigureFile> {
    let runs = Runs::read(reports);
    let file = |plate: &Plate| FigureFile { name: plate.name, svg: sheet::svg(plate, &runs), missing: plate.missing() };
    plate::all(&runs).iter().map(file).collect()
}

/// The names of the runs whose events hold no beginning, so that nothing can be told of them.
pub fn blank(reports: &[Report]) -> Vec<String> {
    Runs::read(reports).blank
}
