//! Decodes image files, recognised by content, not by name. What PIL refuses is refused: a file that is cut short, and
//! a header that claims more pixels than an image has.

use std::{
    borrow::Cow,
    io::Cursor,
    sync::{Mutex, PoisonError},
};

use ::image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, guess_format};

use crate::{dct_scaling, image::Image, jpeg, reduced::ReducedImage};

/// Shortest side of a usable image, in pixels.
pub const SMALLEST: u32 = 8;
/// Most pixels of an image: PIL's limit, twice its `MAX_IMAGE_PIXELS`.
pub const MOST_PIXELS: u64 = 178_956_970;
/// Most bytes that a decoder may take for one image.
const MOST_BYTES: u64 = 1 << 30;
/// Images of more pixels are decoded one at a time, so that memory does not grow with the number of threads.
const LARGE: u64 = 1 << 24;

/// Why a file is not a usable image.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The end of the image is missing.
    #[error("the file is cut short")]
    CutShort,
    /// It has too few pixels.
    #[error("{0} x {1} pixels are too small; at least {SMALLEST} x {SMALLEST} are needed")]
    TooSmall(u32, u32),
    /// It claims too many pixels.
    #[error("its header claims {0} x {1} pixels; the most is {MOST_PIXELS}")]
    TooLarge(u32, u32),
    /// It does not begin as an image does.
    #[error("this is not a {FORMATS} image")]
    NotAnImage,
    /// The decoder lacks its kind of pixels.
    #[error("this kind of image cannot be decoded: {0}")]
    Unsupported(::image::ImageError),
    /// The decoder found it damaged.
    #[error("the file is damaged: {0}")]
    Damaged(::image::ImageError),
}

impl From<::image::ImageError> for DecodeError {
    fn from(error: ::image::ImageError) -> Self {
        match error {
            ::image::ImageError::Unsupported(_) => Self::Unsupported(error),
            _ => Self::Damaged(error),
        }
    }
}

/// The formats that are decoded, for messages.
pub const FORMATS: &str = "JPEG, PNG, WebP, GIF, BMP or PNM";

/// Returns the format of a file that begins with `bytes`, if it is one of [`FORMATS`].
pub(crate) fn format(bytes: &[u8]) -> Option<ImageFormat> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, WebP};
    guess_format(bytes).ok().filter(|format| matches!(format, Jpeg | Png | WebP | Gif | Bmp | Pnm))
}

/// Decodes an image file: the first picture, if it has several.
///
/// # Errors
/// If it is not an intact image of usable size.
pub fn decode(file: &[u8]) -> Result<Image, DecodeError> {
    decode_whole(open(file)?)
}

/// Decodes an image file for views. `reduction` returns by how much an image of this width and height may be reduced (1, 2
/// or 4); a JPEG file is then decoded at that fraction of its size, other files whole.
///
/// # Errors
/// If it is not an intact image of usable size.
pub fn decode_reduced(
    file: &[u8],
    reduction: impl FnOnce([usize; 2]) -> usize,
) -> Result<ReducedImage<'static>, DecodeError> {
    let decoder = open(file)?;
    let (width, height) = decoder.dimensions();
    let size = [width as usize, height as usize];
    let factor = reduction(size);
    match (factor > 1).then(|| dct_scaling::decode(file, factor)).flatten() {
        Some(pixels) => Ok(ReducedImage { size, factor, pixels: Cow::Owned(pixels) }),
        None => Ok(decode_whole(decoder)?.into()),
    }
}

/// Reads the header of an image file, and checks that its end is there and that its size is usable.
fn open(file: &[u8]) -> Result<impl ImageDecoder, DecodeError> {
    let format = format(file).ok_or(DecodeError::NotAnImage)?;
    if !is_complete(format, file) {
        return Err(DecodeError::CutShort);
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MOST_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    reader.limits(limits.clone());
    let decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if width.min(height) < SMALLEST {
        return Err(DecodeError::TooSmall(width, height));
    }
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(DecodeError::TooLarge(width, height));
    }
    limits.reserve(decoder.total_bytes())?;
    Ok(decoder)
}

fn decode_whole(decoder: impl ImageDecoder) -> Result<Image, DecodeError> {
    let (width, height) = decoder.dimensions();
    static LARGE_IMAGE: Mutex<()> = Mutex::new(());
    let _alone = (u64::from(width) * u64::from(height) > LARGE)
        .then(|| LARGE_IMAGE.lock().unwrap_or_else(PoisonError::into_inner));
    let decoded = DynamicImage::from_decoder(decoder)?.into_rgb8();
    Ok(Image { width: width as usize, height: height as usize, pixels: decoded.into_raw() })
}

/// Returns whether nothing is missing at the end of a file, in the formats whose decoders do not notice.
fn is_complete(format: ImageFormat, file: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => jpeg::is_complete(file),
        // Of an animation only the first picture is decoded.
        ImageFormat::WebP => {
            let length = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes)) + 8;
            file[4..].first_chunk().map(length).is_some_and(|length| length <= file.len() as u64)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use ::image::RgbImage;

    use super::*;
    use crate::look::{FIRST, Look, look};

    const PROGRESSIVE: &[u8] = include_bytes!("../../../tests/fixtures/progressive.jpg");

    fn picture() -> RgbImage {
        RgbImage::from_fn(48, 40, |x, y| ::image::Rgb([(x * 5) as u8, (y * 6) as u8, (x * y) as u8]))
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        picture().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    /// Files of all formats, with the name of each.
    fn files() -> Vec<(&'static str, Vec<u8>)> {
        use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, WebP};
        let formats = [("jpg", Jpeg), ("png", Png), ("webp", WebP), ("gif", Gif), ("bmp", Bmp), ("ppm", Pnm)];
        let files = formats.map(|(name, format)| (name, encoded(format)));
        files.into_iter().chain([("progressive.jpg", PROGRESSIVE.to_vec())]).collect()
    }

    #[test]
    fn content_decides_what_a_file_is() {
        for (format, file) in files() {
            let image = decode(&file).unwrap_or_else(|error| panic!("{format}: {error}"));
            assert_eq!((image.width, image.height), (48, 40), "{format}");
            let first = &file[..file.len().min(FIRST)];
            for name in ["x.jpg", "x.jfif", "x.jpg?size=large", "x", "a.b/x.data"] {
                assert_eq!(
                    look(name.as_bytes(), first, first.len() == file.len()),
                    Some(Look::Image),
                    "{format} {name}"
                );
            }
        }
        for (name, lossless) in [("png", ImageFormat::Png), ("bmp", ImageFormat::Bmp)] {
            assert_eq!(decode(&encoded(lossless)).unwrap().pixels, picture().into_raw(), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_cut_short_is_damaged_in_every_format() {
        for (format, file) in files() {
            for kept in [90, 50, 10] {
                let cut = &file[..file.len() * kept / 100];
                assert!(decode(cut).is_err(), "{kept} % of {format} is decoded");
                assert!(decode_reduced(cut, |_| 2).is_err(), "{kept} % of {format} is decoded for views");
            }
        }
        // Before the first pixel.
        let scan = PROGRESSIVE.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
        for length in [scan, scan + 2, scan + 14] {
            assert!(decode(&PROGRESSIVE[..length]).is_err());
        }
        assert!(decode(&[PROGRESSIVE, b"what follows is not read"].concat()).is_ok());
    }

    #[test]
    fn a_size_that_is_only_claimed_takes_no_memory() {
        let claims = |format, patch: fn(&mut Vec<u8>)| {
            let mut file = encoded(format);
            patch(&mut file);
            file
        };
        let frame = |file: &[u8]| file.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        let mut jpeg = encoded(ImageFormat::Jpeg);
        let at = frame(&jpeg) + 5;
        jpeg[at..at + 4].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
        let bitmap = claims(ImageFormat::Bmp, |file| {
            file[18..22].copy_from_slice(&60_000_i32.to_le_bytes());
            file[22..26].copy_from_slice(&60_000_i32.to_le_bytes());
        });
        let gif = claims(ImageFormat::Gif, |file| file[6..10].copy_from_slice(&[0x60, 0xEA, 0x60, 0xEA]));
        for file in [jpeg, bitmap, gif, b"P6 60000 60000 255\n".to_vec()] {
            assert!(matches!(decode(&file), Err(DecodeError::TooLarge(60_000, 60_000))), "{:?}", decode(&file));
            assert_eq!(look(b"x.jpg", &file, true), Some(Look::Damaged));
        }
    }

    #[test]
    fn small_images_are_not_called_damaged() {
        let small = RgbImage::new(7, 20);
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp] {
            let mut file = Vec::new();
            small.write_to(&mut Cursor::new(&mut file), format).unwrap();
            assert_eq!(look(b"x", &file, true), Some(Look::TooSmall), "{format:?}");
            assert!(matches!(decode(&file), Err(DecodeError::TooSmall(7, 20))), "{format:?}");
        }
    }
}
