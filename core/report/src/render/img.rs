//! Images as `img` elements.

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use slimclr_data::image::Image;

use crate::text::escape;

/// Returns an `img` element with `image` as PNG, or `alt` as text if the image is not valid.
pub fn element(image: &Image, alt: &str) -> String {
    let alt = escape(alt);
    match png(image) {
        Some(bytes) => format!(r#"<img src="data:image/png;base64,{}" alt="{alt}">"#, STANDARD.encode(bytes)),
        None => format!(r#"<span class="no-image">{alt}: not a valid image</span>"#),
    }
}

fn png(image: &Image) -> Option<Vec<u8>> {
    // The encoder panics if the number of pixels does not fit the size.
    image.check().ok()?;
    let (width, height) = (image.width.try_into().ok()?, image.height.try_into().ok()?);
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new(&mut bytes);
    encoder.write_image(&image.pixels, width, height, ExtendedColorType::Rgb8).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_survive_the_png_encoding() {
        let image = Image { width: 2, height: 1, pixels: vec![1, 2, 3, 250, 251, 252] };
        let decoded = image::load_from_memory(&png(&image).unwrap()).unwrap().to_rgb8();
        assert_eq!(decoded.dimensions(), (2, 1));
        assert_eq!(decoded.into_raw(), image.pixels);
    }

    #[test]
    fn an_invalid_image_is_replaced_by_its_text() {
        for (width, height) in [(2, 2), (0, 0), (usize::MAX, 1)] {
            let image = Image { width, height, pixels: vec![0; 3] };
            assert_eq!(element(&image, "a <cat>"), r#"<span class="no-image">a &lt;cat&gt;: not a valid image</span>"#);
        }
    }
}
