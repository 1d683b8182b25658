//! Renders SVG as PNG.

use std::sync::Arc;

use anyhow::{Context, Result};
use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

/// Pixels per SVG user unit, for high-resolution screens and print.
const SCALE: f32 = 2.0;

/// Renders `svg` as PNG, with all text in the embedded font, so that the result is the same on every machine.
///
/// # Errors
/// If it is not SVG, or too large to render.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    let options = Options { fontdb: Arc::new(fonts), font_family: "DejaVu Sans".into(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).context("the figure is not valid SVG")?;
    let [width, height] = [tree.size().width(), tree.size().height()].map(|side| (side * SCALE).ceil() as u32);
    let mut pixels = Pixmap::new(width, height)
        .with_context(|| format!("a figure of {width} x {height} pixels is too large: report fewer runs at once"))?;
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
