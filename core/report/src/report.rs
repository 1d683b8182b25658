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

/// A test image and its nearest training images by the features of each width.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// The test image.
    pub query: LabelledPicture,
    /// For each width, the neighbours, nearest first.
    pub per_width: Vec<(f64, Vec<LabelledPicture>)>,
}

/// An image with the name of its class.
#[derive(Debug, Clone)]
pub struct LabelledPicture {
    /// The image.
    pub image: Image,
    /// Its class; `None` if the images have no labels.
    pub class: Option<String>,
}
