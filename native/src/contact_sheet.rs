//! A contact sheet: pictures in a grid, a row for each query.

use std::fmt::Write;

use anyhow::Result;
use slimclr_core::image::Image;
use slimclr_report::escape;

use crate::raster::{self, PlacedPicture};

/// Side of the square that a picture is fitted into, in user units.
const SIDE: f64 = 112.0;
/// Space between squares.
const GAP: f64 = 12.0;
/// Height of a caption.
const CAPTION: f64 = 18.0;
/// Space between a query and the images that are similar to it.
const AFTER_QUERY: f64 = 28.0;
/// Most characters of a caption.
const CHARACTERS: usize = 18;

/// A picture with a text below it.
pub struct Picture {
    /// The image.
    pub image: Image,
    /// The text.
    pub caption: String,
}

/// Rows of a query and the images that are similar to it.
#[derive(Default)]
pub struct ContactSheet {
    rows: Vec<(Picture, Vec<Picture>)>,
}

impl ContactSheet {
    /// Adds a row.
    pub fn add(&mut self, query: Picture, similar: Vec<Picture>) {
        self.rows.push((query, similar));
    }

    /// Draws the sheet.
    ///
    /// # Errors
    /// If it is too large.
    pub fn png(&self) -> Result<Vec<u8>> {
        let columns = self.rows.iter().map(|(_, similar)| similar.len()).max().unwrap_or(0) as f64;
        let row_height = SIDE + CAPTION + GAP;
        let width = 2.0 * GAP + SIDE + AFTER_QUERY + columns * (SIDE + GAP) - GAP;
        let height = GAP + self.rows.len() as f64 * row_height;
        let mut svg = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="'DejaVu Sans'" font-size="10" fill="#222"><rect width="{width}" height="{height}" fill="#fff"/>"##
        );
        let mut pictures = Vec::new();
        for (row, (query, similar)) in self.rows.iter().enumerate() {
            let y = GAP + row as f64 * row_height;
            let of_query = (GAP, query);
            let first = GAP + SIDE + AFTER_QUERY;
            let of_similar = similar.iter().enumerate().map(|(n, it)| (first + n as f64 * (SIDE + GAP), it));
            for (x, Picture { image, caption }) in [of_query].into_iter().chain(of_similar) {
                let caption = escape(&shortened(caption));
                write!(svg, r#"<text x="{x}" y="{}">{caption}</text>"#, y + SIDE + 12.0)?;
                pictures.push(PlacedPicture { image, place: [x, y], side: SIDE });
            }
            let line = GAP + SIDE + AFTER_QUERY / 2.0;
            write!(svg, r##"<path d="M{line},{y}v{SIDE}" stroke="#bbb"/>"##)?;
        }
        svg += "</svg>";
        raster::png_with_pictures(&svg, &pictures)
    }
}

/// Leaves out the middle of a long text.
fn shortened(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= CHARACTERS {
        return text.into();
    }
    let end = CHARACTERS / 2;
    let start = CHARACTERS - end - 1;
    let part = |characters: &[char]| characters.iter().collect::<String>();
    format!("{}…{}", part(&characters[..start]), part(&characters[characters.len() - end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_in_rows_and_fitted_into_squares() {
        let picture = |size: [usize; 2], colour: [u8; 3]| Picture {
            image: Image { width: size[0], height: size[1], pixels: colour.repeat(size[0] * size[1]) },
            caption: "a <long> name of a picture.png".into(),
        };
        let mut sheet = ContactSheet::default();
        sheet.add(picture([8, 8], [255, 0, 0]), vec![picture([400, 200], [0, 255, 0]), picture([2, 4], [0, 0, 255])]);
        sheet.add(picture([8, 8], [255, 255, 0]), Vec::new());
        let pixels = image::load_from_memory(&sheet.png().unwrap()).unwrap().to_rgb8();
        let at = |x: f64, y: f64| pixels.get_pixel((2.0 * x) as u32, (2.0 * y) as u32).0;
        let (middle, first) = (GAP + SIDE / 2.0, GAP + SIDE + AFTER_QUERY + SIDE / 2.0);
        assert_eq!([at(middle, middle), at(first, middle)], [[255, 0, 0], [0, 255, 0]]);
        assert_eq!(at(first + SIDE + GAP, middle), [0, 0, 255]);
        assert_eq!(at(middle, middle + SIDE + CAPTION + GAP), [255, 255, 0]);
        // A wide picture leaves the square's upper part free, a narrow one its sides.
        assert_eq!([at(first, GAP + 4.0), at(first + SIDE / 2.0 + GAP + 4.0, middle)], [[255; 3]; 2]);
    }

    #[test]
    fn long_captions_lose_their_middle() {
        assert_eq!(shortened("short.png"), "short.png");
        assert_eq!(shortened("a very long name of a picture.png"), "a very l…cture.png");
    }
}
