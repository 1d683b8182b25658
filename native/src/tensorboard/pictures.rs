//! Normalised images as pictures.

use std::io::Cursor;

use anyhow::{Context, Result};
use image::{
    ImageFormat, Rgb, RgbImage,
    imageops::{FilterType, overlay, resize},
};
use slimclr_core::{augment::Normalisation, data::batch::HostViews};

/// Smaller views are enlarged to about this side, in pixels.
const SIDE: u32 = 96;
/// Pixels between views.
const GAP: u32 = 4;

/// Returns the picture of a normalised image, `[3, size, size]`.
pub fn picture(pixels: &[f32], size: usize, normalisation: &Normalisation) -> RgbImage {
    let Normalisation { mean, std } = normalisation;
    RgbImage::from_fn(size as u32, size as u32, |x, y| {
        let place = y as usize * size + x as usize;
        Rgb([0, 1, 2].map(|channel| {
            let intensity = pixels[channel * size * size + place] * std[channel] + mean[channel];
            (255.0 * intensity).round().clamp(0.0, 255.0) as u8
        }))
    })
}

/// Draws a column for each image and a row for each view of it.
pub fn sheet_of_views(views: &[HostViews], images: usize, normalisation: &Normalisation) -> RgbImage {
    let rows: Vec<Vec<RgbImage>> = views
        .iter()
        .filter_map(|views| match views {
            HostViews::Finished { pixels, size } => Some((pixels, *size)),
            HostViews::Cropped(_) => None,
        })
        .map(|(pixels, size)| {
            let of_view = pixels.chunks_exact(3 * size * size).take(images);
            of_view.map(|pixels| enlarged(picture(pixels, size, normalisation))).collect()
        })
        .collect();
    let side = rows.iter().flatten().map(RgbImage::width).max().unwrap_or(0) + GAP;
    let mut sheet = RgbImage::from_pixel(images as u32 * side, rows.len() as u32 * side, Rgb([255; 3]));
    for (row, views) in rows.iter().enumerate() {
        for (column, view) in views.iter().enumerate() {
            overlay(&mut sheet, view, column as i64 * i64::from(side), row as i64 * i64::from(side));
        }
    }
    sheet
}

/// Enlarges a small picture by a whole factor.
fn enlarged(picture: RgbImage) -> RgbImage {
    match SIDE / picture.width() {
        0 | 1 => picture,
        factor => resize(&picture, factor * picture.width(), factor * picture.height(), FilterType::Nearest),
    }
}

/// Encodes a picture as PNG.
///
/// # Errors
/// If it is empty.
pub fn png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).context("cannot encode a picture as PNG")?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_an_image_are_below_each_other() {
        let Normalisation { mean, std } = Normalisation::CIFAR10;
        let normalised = |red: f32| [0, 1, 2].map(|channel| ([red, 0.0, 1.0][channel] - mean[channel]) / std[channel]);
        // Views of two images, of one pixel each.
        let view = |reds: [f32; 2]| HostViews::Finished { pixels: reds.map(normalised).concat(), size: 1 };
        let sheet = sheet_of_views(&[view([0.0, 0.2]), view([0.4, 0.6])], 2, &Normalisation::CIFAR10);
        assert_eq!(sheet.dimensions(), (200, 200));
        for (x, y, red) in [(0, 0, 0), (100, 0, 51), (95, 195, 102), (100, 100, 153)] {
            assert_eq!(sheet.get_pixel(x, y).0, [red, 0, 255], "at {x}, {y}");
        }
        assert!(png(&sheet).unwrap().starts_with(b"\x89PNG"));
    }
}
