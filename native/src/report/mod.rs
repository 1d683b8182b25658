//! The report of a run: one HTML page that holds everything it shows and asks the network for nothing.

mod chart;
mod colour;
mod figure;
mod page;
mod picture;
mod record;
mod text;

pub use text::{compact, count, duration};

use slimclr_core::{event::Event, image::Image};

/// What a report is made from.
#[derive(Debug, Clone)]
pub struct Report {
    /// The run's name.
    pub name: String,
    /// Its events, in order; a resumed run has all of them.
    pub events: Vec<Event>,
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

/// The report as an HTML document. Parts that the run does not have are named as missing.
pub fn html(report: &Report) -> String {
    page::document(report)
}

#[cfg(test)]
mod tests;
