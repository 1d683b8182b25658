//! Renders SVG as PNG.

use std::sync::Arc;

use anyhow::{Context, Result};
use image::{
    RgbImage,
    imageops::{self, FilterType},
};
use resvg::{
    tiny_skia::{ColorU8, Pixmap, PixmapPaint, Transform},
    usvg::{Options, Tree, fontdb::Database},
};
use slimclr_core::image::Image;

/// Pixels per SVG user unit, for high-resolution screens and print.
const SCALE: f32 = 2.0;

/// Renders `svg` as PNG, with all text in the embedded font, so that the result is the same on every machine.
///
/// # Errors
/// If it is not SVG, or too large to render.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    encode(&render(svg)?)
}

/// A picture in an SVG.
pub struct PlacedPicture<'a> {
    /// The image.
    pub image: &'a Image,
    /// Upper left corner, in user units, of the square that it is fitted into.
    pub place: [f64; 2],
    /// Side of the square.
    pub side: f64,
}

/// Renders `svg` as PNG, with pictures over it, each in the middle of its square. Large pictures are reduced smoothly; small
/// ones keep their pixels.
///
/// # Errors
/// If it is not SVG, or too large to render.
pub fn png_with_pictures(svg: &str, pictures: &[PlacedPicture]) -> Result<Vec<u8>> {
    let mut pixels = render(svg)?;
    for PlacedPicture { image, place, side } in pictures {
        let side = side * f64::from(SCALE);
        let scale = side / image.width.max(image.height) as f64;
        let [width, height] = [image.width, image.height].map(|extent| ((extent as f64 * scale).round() as u32).max(1));
        let from = RgbImage::from_raw(image.width as u32, image.height as u32, image.pixels.clone());
        let filter = if scale > 1.0 { FilterType::Nearest } else { FilterType::Triangle };
        let fitted = imageops::resize(&from.context("a picture has no pixels")?, width, height, filter);
        let mut opaque = Pixmap::new(width, height).context("a picture has no pixels")?;
        for (to, from) in opaque.pixels_mut().iter_mut().zip(fitted.pixels()) {
            let [red, green, blue] = from.0;
            *to = ColorU8::from_rgba(red, green, blue, u8::MAX).premultiply();
        }
        let corner = |at: f64, extent: u32| (at * f64::from(SCALE) + (side - f64::from(extent)) / 2.0).round() as i32;
        let (x, y) = (corner(place[0], width), corner(place[1], height));
        pixels.draw_pixmap(x, y, opaque.as_ref(), &PixmapPaint::default(), Transform::identity(), None);
    }
    encode(&pixels)
}

fn encode(pixels: &Pixmap) -> Result<Vec<u8>> {
    pixels.encode_png().context("the figure cannot be encoded as PNG")
}

fn render(svg: &str) -> Result<Pixmap> {
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    let options = Options { fontdb: Arc::new(fonts), font_family: "DejaVu Sans".into(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("the figure is not valid SVG")?;
    let [width, height] = [tree.size().width(), tree.size().height()].map(|side| (side * SCALE).ceil() as u32);
    let mut pixels = Pixmap::new(width, height).with_context(|| {
        format!("a picture of {width} x {height} pixels is too large: draw fewer runs or images at once")
    })?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    Ok(pixels)
}

#[cfg(test)]
#[path = "../../core/report/tests/fixture/mod.rs"]
mod fixture;

#[cfg(test)]
mod tests {
    use slimclr_report::{FigureFile, Report, figures};

    use super::*;

    #[test]
    fn text_and_colour_classes_are_rendered() {
        let svg = r##"<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20" font-family="'DejaVu Sans'">
            <style>.w0{color:#ff0000} svg path{fill:currentColor}</style>
            <rect width="40" height="20" fill="#fff"/><path class="w0" d="M0,0h10v20h-10z"/>
            <text x="14" y="16" font-size="16">σ₁</text></svg>"##;
        let pixels = image::load_from_memory(&png(svg).unwrap()).unwrap().to_rgb8();
        assert_eq!(pixels.dimensions(), (80, 40));
        assert_eq!(pixels.get_pixel(5, 20).0, [255, 0, 0]);
        let dark = pixels.enumerate_pixels().filter(|(x, _, pixel)| *x > 24 && pixel.0 == [0; 3]).count();
        assert!(dark > 40, "{dark} dark pixels of text");
        assert!(png("<svg").is_err());
    }

    #[test]
    fn every_figure_file_renders_without_external_resources() {
        let eight: Vec<Report> =
            (0..8).map(|n| fixture::interfering(&format!("a run with a name, number {n}"))).collect();
        for FigureFile { name, svg, .. } in figures(&eight) {
            let svg = svg.unwrap();
            for outside in ["href", "url(", "@import", "var("] {
                assert!(!svg.contains(outside), "{name}: {outside}");
            }
            let pixels = image::load_from_memory(&png(&svg).unwrap()).unwrap().to_rgb8();
            assert_eq!(pixels.get_pixel(0, 0).0, [255; 3]);
            assert!((1240..=3700).contains(&pixels.width()), "{name} is {} pixels wide", pixels.width());
            // The right and bottom margins are blank, so nothing is cut off.
            let (right, below) = (pixels.width() - 8, pixels.height() - 8);
            let edge = pixels.enumerate_pixels().filter(|(x, y, _)| *x >= right || *y >= below);
            assert!(edge.into_iter().all(|(.., pixel)| pixel.0 == [255; 3]), "{name}");
        }
    }
}
