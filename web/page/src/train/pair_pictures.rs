//! What a comparison of views has shown, with the pictures.

use serde::Deserialize;
use slimclr_protocol::{Pairs, wire};
use wasm_bindgen::JsValue;

use crate::pixels::Pixels;

/// Pairs of views with their pictures. A recording has one as a line of JSON for each measurement.
#[derive(Debug, Clone, Deserialize)]
pub struct PairPictures {
    /// Which views each width finds.
    pub pairs: Pairs,
    /// For each image itself, its first and its second view, as data URLs.
    pub pictures: Vec<[String; 3]>,
}

impl PairPictures {
    /// Takes the pictures from a worker's report: pixels of images, first and second views, with these sides.
    pub fn new(pairs: Pairs, sides: [usize; 3], attached: Vec<JsValue>) -> Self {
        let sheets: Vec<Pixels> = attached
            .iter()
            .zip(sides)
            .map(|(pixels, side)| Pixels::new(wire::bytes(pixels).unwrap_or_default(), side))
            .collect();
        let picture = |sheet: usize, image| sheets.get(sheet).and_then(|sheet| sheet.url(image)).unwrap_or_default();
        let shown = pairs.is_found.first().map_or(0, Vec::len);
        let pictures = (0..shown).map(|image| std::array::from_fn(|sheet| picture(sheet, image))).collect();
        Self { pairs, pictures }
    }
}
