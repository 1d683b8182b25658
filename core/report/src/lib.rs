//! What runs have recorded, as figures: one HTML page that holds everything it shows and asks the network for nothing, and
//! figures as files of their own. It reads no file and builds for the browser too.

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
mod record;
mod runs;
mod sheet;
mod text;

pub use text::{compact, count, duration};

use runs::Runs;
use slimclr_core::{event::Event, image::Image, interference::landscape::Landscape};

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

/// The figures of interference, of all `reports` side by side.
pub fn figures(reports: &[Report]) -> Vec<FigureFile> {
    let runs = Runs::read(reports);
    let file = |plate: &interference::Plate| FigureFile {
        name: plate.name,
        svg: sheet::svg(plate, &runs),
        missing: plate.missing(),
    };
    interference::plates(&runs).iter().map(file).collect()
}

/// The names of the runs whose events hold no beginning, so that nothing can be told of them.
pub fn blank(reports: &[Report]) -> Vec<String> {
    Runs::read(reports).blank
}
