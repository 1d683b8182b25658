//! Files of TensorBoard's projector: embeddings of images, with their classes and pictures.

use std::path::Path;

use anyhow::{Context, Result};
use image::{
    RgbImage,
    imageops::{overlay, thumbnail},
};
use slimclr_core::data::names::shown;

use super::pictures::png;
use crate::files::write_atomically;

/// Side of a picture in the projector, at most.
const PICTURE: u32 = 64;

/// Name of the file that the projector looks for.
const CONFIG: &str = "projector_config.pbtxt";
const CLASSES: &str = "classes.tsv";
const PICTURES: &str = "pictures.png";

/// Images and the features that each width has of them.
pub struct Embeddings {
    /// A square picture of each image, all of one size.
    pub pictures: Vec<RgbImage>,
    /// The class of each image; empty without labels.
    pub classes: Vec<String>,
    /// Pairs of a width and its features of the images, a row each.
    pub features: Vec<(f64, Vec<Vec<f32>>)>,
}

impl Embeddings {
    /// Writes the files to `folder`.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let side = self.pictures.first().context("there is no image to show")?.width().min(PICTURE);
        write_atomically(&folder.join(PICTURES), &png(&self.sheet(side))?)?;
        let mut shared =
            format!("  sprite {{ image_path: \"{PICTURES}\" single_image_dim: {side} single_image_dim: {side} }}\n");
        if !self.classes.is_empty() {
            let lines: String = self.classes.iter().map(|class| shown(class.as_bytes()) + "\n").collect();
            write_atomically(&folder.join(CLASSES), lines.as_bytes())?;
            shared += &format!("  metadata_path: \"{CLASSES}\"\n");
        }
        let mut config = String::new();
        for (width, features) in &self.features {
            let file = format!("features-{width}.tsv");
            let line = |row: &Vec<f32>| row.iter().map(f32::to_string).collect::<Vec<_>>().join("\t") + "\n";
            write_atomically(&folder.join(&file), features.iter().map(line).collect::<String>().as_bytes())?;
            config +=
                &format!("embeddings {{\n  tensor_name: \"width {width}\"\n  tensor_path: \"{file}\"\n{shared}}}\n");
        }
        // Last, so that it never names a file that is not there.
        write_atomically(&folder.join(CONFIG), config.as_bytes())
    }

    /// Returns all pictures in rows of one square, as the projector expects them.
    fn sheet(&self, side: u32) -> RgbImage {
        let columns = (self.pictures.len() as f64).sqrt().ceil() as u32;
        let mut sheet = RgbImage::new(columns * side, columns * side);
        for (index, picture) in (0..).zip(&self.pictures) {
            let place = |cell: u32| i64::from(cell * side);
            overlay(&mut sheet, &thumbnail(picture, side, side), place(index % columns), place(index / columns));
        }
        sheet
    }
}
