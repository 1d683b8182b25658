//! Networks' inputs as pixels.

use slimclr_core::augment::Normalisation;

/// Converts images as networks take them, `[n, 3, side, side]` and normalised, to RGB pixels, image by image.
pub fn to_rgb(images: &[f32], side: usize, normalisation: &Normalisation) -> Vec<u8> {
    let plane = side * side;
    let Normalisation { mean, std } = normalisation;
    let rgb = |image: &[f32], pixel: usize| {
        std::array::from_fn(|channel| {
            let intensity = image[channel * plane + pixel] * std[channel] + mean[channel];
            (intensity * 255.0).round().clamp(0.0, 255.0) as u8
        })
    };
    let of_image = |image| (0..plane).flat_map(move |pixel| -> [u8; 3] { rgb(image, pixel) });
    images.chunks_exact(3 * plane).flat_map(of_image).collect()
}
