//! SVGs as pixels.

use std::sync::Arc;

use anyhow::{Context, Result};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

/// Pixels of a user unit: sharp on dense screens and in print.
const SCALE: f32 = 2.0;

/// `svg` as PNG, with all its text in the program's own font: no file is read.
///
/// # Errors
/// If it is no SVG, or too large for pixels.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    let options = Options { fontdb: Arc::new(fonts), font_family: "DejaVu Sans".into(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("the figure is no SVG that can be drawn")?;
    let [width, height] = [tree.size().width(), tree.size().height()].map(|side| (side * SCALE).ceil() as u32);
    let mut pixels = Pixmap::new(width, height)
        .with_context(|| format!("a figure of {width} x {height} pixels is too large: report on fewer runs at once"))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().context("the figure cannot be encoded as PNG")
}

#[cfg(test)]
#[path = "../../core/report/tests/fixture/mod.rs"]
mod fixture;

#[cfg(test)]
mod tests {
    use slimclr_report::{FigureFile, Report, figures};

    use super::*;

    #[test]
    fn text_and_colour_classes_are_drawn() {
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
    fn figures_of_their_own_are_drawn_as_pixels_by_the_program_alone() {
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
            // Not cut off on the right or below.
            let (right, below) = (pixels.width() - 8, pixels.height() - 8);
            let edge = pixels.enumerate_pixels().filter(|(x, y, _)| *x >= right || *y >= below);
            assert!(edge.into_iter().all(|(.., pixel)| pixel.0 == [255; 3]), "{name}");
        }
    }
}
