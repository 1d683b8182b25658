//! JPEG files at a fraction of their size: the decoder computes fewer pixels from each block's frequencies ("DCT
//! scaling"), which takes less time than decoding them all and averaging them.

use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

use crate::{image::Image, jpeg::has_plain_colours};

/// Decodes a JPEG file at 1 / `factor` (2 or 4) of its width and height, rounded up. Returns `None` if it is none, is
/// damaged, or has colours other than grey and Y'CbCr: such files are decoded whole.
///
/// The arithmetic is integer and the same on every platform. Where colours are subsampled, those of the result are, too:
/// they are as coarse as in a JPEG file of the reduced size.
pub fn decode(file: &[u8], factor: usize) -> Option<Image> {
    if !has_plain_colours(file) {
        return None;
    }
    let mut decoder = Decoder::new(file);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    let transform = match info.pixel_format {
        PixelFormat::L8 => ColorTransform::Grayscale,
        PixelFormat::RGB24 => ColorTransform::YCbCr,
        PixelFormat::L16 | PixelFormat::CMYK32 => return None,
    };
    decoder.set_color_transform(transform);
    // The decoder takes the smallest of its sizes that is no smaller than this one.
    let [width, height] = [info.width, info.height].map(|side| side.div_ceil(factor as u16));
    let (width, height) = decoder.scale(width, height).ok()?;
    let pixels = decoder.decode().ok()?;
    let pixels = if info.pixel_format == PixelFormat::L8 {
        pixels.into_iter().flat_map(|grey| [grey; 3]).collect()
    } else {
        pixels
    };
    Image::new(width.into(), height.into(), pixels).ok()
}

#[cfg(test)]
mod tests {
    use ::image::{ExtendedColorType, codecs::jpeg::JpegEncoder};

    use super::*;
    use crate::decode::decode_reduced;

    /// A smooth picture of `width` x `height` pixels and `channels` channels as a JPEG file.
    fn jpeg(width: u16, height: u16, channels: usize) -> Vec<u8> {
        let value = |x: f32, y: f32, channel: usize| 128.0 + 100.0 * (x / 40.0 + y / 60.0 + channel as f32).sin();
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (f32::from(x), f32::from(y))));
        let pixels: Vec<u8> =
            places.flat_map(|(x, y)| (0..channels).map(move |channel| value(x, y, channel) as u8)).collect();
        let kind = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let mut file = Vec::new();
        JpegEncoder::new_with_quality(&mut file, 95).encode(&pixels, width.into(), height.into(), kind).unwrap();
        file
    }

    /// The file with a segment of Adobe's after the start, which says how colours are transformed.
    fn with_adobe(file: &[u8], transform: u8) -> Vec<u8> {
        let adobe = [&[0xff, 0xee, 0, 14], &b"Adobe"[..], &[0, 100, 0, 0, 0, 0, transform]].concat();
        [&file[..2], &adobe, &file[2..]].concat()
    }

    #[test]
    fn a_reduced_image_is_the_mean_of_the_whole_one() {
        for (width, height, channels) in [(320, 240, 3), (203, 155, 3), (101, 64, 1)] {
            let file = jpeg(width, height, channels);
            let whole = ::image::load_from_memory(&file).unwrap().into_rgb8();
            for factor in [2, 4] {
                let reduced = decode(&file, factor).unwrap();
                let [columns, rows] = [width, height].map(|side| usize::from(side).div_ceil(factor));
                assert_eq!([reduced.width, reduced.height], [columns, rows]);
                // Blocks at the edges hold pixels beyond the image.
                let [columns, rows] = [width, height].map(|side| usize::from(side) / factor);
                for (x, y, channel) in (0..columns * rows * 3).map(|at| (at / 3 % columns, at / 3 / columns, at % 3)) {
                    let block = (0..factor * factor).map(|at| (x * factor + at % factor, y * factor + at / factor));
                    let sum: f32 = block.map(|(x, y)| f32::from(whole.get_pixel(x as u32, y as u32)[channel])).sum();
                    let mean = sum / (factor * factor) as f32;
                    let pixel = f32::from(reduced.pixels[3 * (y * reduced.width + x) + channel]);
                    assert!((pixel - mean).abs() < 3.0, "1/{factor}: {pixel}, not {mean}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_reduced_as_it_is_decoded_whole_is_refused() {
        let file = jpeg(64, 48, 3);
        assert!(decode(&with_adobe(&file, 1), 2).is_some());
        // Untransformed, so that the components are red, green and blue whatever their names.
        assert!(decode(&with_adobe(&file, 0), 2).is_none());
        let frame = file.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        let mut named = file.clone();
        let mut rename = |names: &[u8; 3]| (0..3).for_each(|place| named[frame + 10 + 3 * place] = names[place]);
        rename(b"RGB");
        assert!(decode(&named, 2).is_none());
        // Cut short, damaged, and no JPEG file.
        for length in [0, 2, frame, file.len() / 2, file.len() - 100] {
            assert!(decode(&file[..length], 2).is_none(), "{length}");
        }
        assert!(decode(b"\x89PNG\r\n\x1a\n", 2).is_none());
    }
    #[test]
    fn only_jpeg_files_are_reduced() {
        let file = jpeg(203, 155, 3);
        let reduced = |file: &[u8], factor| {
            decode_reduced(file, |size| {
                assert_eq!(size, [203, 155]);
                factor
            })
            .unwrap()
        };
        let quarter = reduced(&file, 4);
        assert_eq!((quarter.size, quarter.factor), ([203, 155], 4));
        assert_eq!([quarter.pixels.width, quarter.pixels.height], [51, 39]);
        let whole = reduced(&file, 1);
        assert_eq!((whole.size, whole.factor), ([203, 155], 1));

        let mut png = std::io::Cursor::new(Vec::new());
        let picture = ::image::load_from_memory(&file).unwrap();
        picture.write_to(&mut png, ::image::ImageFormat::Png).unwrap();
        let png = reduced(&png.into_inner(), 4);
        assert_eq!((png.size, png.factor, &png.pixels), ([203, 155], 1, &whole.pixels));
        // Its colours are transformed in another way, so that it is decoded whole.
        assert_eq!(reduced(&with_adobe(&file, 0), 4).factor, 1);
    }
}
