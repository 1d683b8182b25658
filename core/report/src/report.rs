//! The data that a report is made from.

use slimclr_data::image::Image;
use slimclr_run::{event::Event, interference::landscape::Landscape};

/// A run to report on.
#[derive(Debug, Clone)]
pub struct Report {
    /// The run's name.
    pub name: String,
    /// Its events, in order; for a resumed run, those of every part.
    pub events: Vec<Event>,
    /// Its loss landscape, if one was computed.
    pub landscape: Option<Landscape>,
    /// Test images with their nearest training images.
    pub neighbours: Vec<Neighbours>,
}

/// A test image and its nearest training images in the embedding of each width.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// The test image.
    pub query: Image,
    /// Its class.
    pub class: String,
    /// For each width, the neighbours and their classes, nearest first.
    pub per_width: Vec<(f64, Vec<(Image, String)>)>,
}
