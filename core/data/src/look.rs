//! Recognises what a file is by its first bytes and, if it is not an image, also by its name.

use std::io::Cursor;

use ::image::{ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};

use crate::{
    decode::{self, MOST_PIXELS, SMALLEST},
    jpeg::{self, Header},
};

/// First bytes of a file that nearly always tell what it is.
pub const FIRST: usize = 1 << 12;
/// First bytes that hold the header of a photograph with a thumbnail and a colour profile. What they do not tell is
/// found when the image is decoded.
pub const LONGER: usize = 1 << 18;

/// Longest list of labels that is read, in bytes: ImageNet's has two million.
pub const LONGEST_LIST: u64 = 1 << 24;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// An image with an intact header.
    Image,
    /// An image with a side of less than [`SMALLEST`] pixels.
    TooSmall,
    /// A file that begins as an image does, or is named as one, but is not intact.
    Damaged,
    /// An image in a format that is not decoded, or a download that is none, named as an image.
    Misnamed(String),
    /// A list that may tell the classes of images, with its text.
    Labels(String),
    /// Another file.
    Other,
    /// A link to nothing.
    DanglingLink,
    /// A file or folder that the system does not let open.
    Unopened,
    /// A folder with nothing in it.
    EmptyFolder,
}

/// Extensions of images that are decoded.
const EXTENSIONS: [&str; 12] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "ppm", "pgm", "pbm"];

/// What is often named as an image: its name, and the bytes that it has at an offset.
const MISNAMED: [(&str, usize, &[u8]); 16] = [
    ("HEIC image", 4, b"ftypheic"),
    ("HEIC image", 4, b"ftypheix"),
    ("HEIC image", 4, b"ftypmif1"),
    ("AVIF image", 4, b"ftypavif"),
    ("AVIF image", 4, b"ftypavis"),
    ("JPEG XL image", 0, b"\xFF\x0A"),
    ("JPEG XL image", 4, b"JXL "),
    ("JPEG 2000 image", 4, b"jP  "),
    ("TIFF image", 0, b"II*\0"),
    ("TIFF image", 0, b"MM\0*"),
    ("Photoshop image", 0, b"8BPS"),
    ("SVG image", 0, b"<svg"),
    ("Git LFS pointer", 0, b"version https://git-lfs"),
    ("web page", 0, b"<!DOCTYPE"),
    ("web page", 0, b"<!doctype"),
    ("web page", 0, b"<html"),
];

/// Returns the extension of a file's name in lower case, if it has one.
pub(crate) fn extension(path: &[u8]) -> Option<String> {
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0)?;
    Some(String::from_utf8_lossy(&name[dot + 1..]).to_lowercase()).filter(|extension| !extension.is_empty())
}

/// Returns whether a file's name is that of a list of the classes of validation images, such as `val_annotations.txt`.
/// Its [`Look`] is its text.
pub fn is_label_list(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_ascii_lowercase();
    matches!(extension(&name).as_deref(), Some("txt" | "csv")) && name.windows(3).any(|part| part == b"val")
}

/// Tells what a file is that begins with the bytes `first`, which are all of it if `is_whole`. Returns `None` if more of
/// its first bytes are needed.
pub fn look(path: &[u8], first: &[u8], is_whole: bool) -> Option<Look> {
    let extension = extension(path).unwrap_or_default();
    let of_image = || match decode::format(first)? {
        ImageFormat::Jpeg => Some(match jpeg::header(first) {
            Header::Size(width, height) => Found::Size(width, height),
            Header::CutShort if !is_whole => Found::More,
            Header::CutShort | Header::Invalid => Found::Damaged,
        }),
        ImageFormat::Bmp => bitmap(first),
        ImageFormat::Pnm => {
            let size = ImageReader::with_format(Cursor::new(first), ImageFormat::Pnm).into_dimensions().ok()?;
            Some(Found::Size(size.0, size.1))
        }
        format => Some(fixed(format, first).map_or(Found::Damaged, |(width, height)| Found::Size(width, height))),
    };
    let is_named_as_image = EXTENSIONS.contains(&extension.as_str());
    Some(match of_image() {
        Some(Found::More) => return None,
        Some(Found::Size(width, height)) if u64::from(width) * u64::from(height) > MOST_PIXELS => Look::Damaged,
        Some(Found::Size(width, height)) if width.min(height) < SMALLEST => Look::TooSmall,
        Some(Found::Size(..)) => Look::Image,
        Some(Found::Damaged) => Look::Damaged,
        None if is_named_as_image => {
            let kind = MISNAMED
                .iter()
                .find(|(_, offset, bytes)| first.get(*offset..).is_some_and(|from| from.starts_with(bytes)));
            kind.map_or(Look::Damaged, |(kind, ..)| Look::Misnamed((*kind).into()))
        }
        None => Look::Other,
    })
}

/// What the header of an image says.
enum Found {
    Size(u32, u32),
    Damaged,
    /// The header is longer.
    More,
}

/// Reads the size in a bitmap's header. Text may begin with the same two bytes.
fn bitmap(bytes: &[u8]) -> Option<Found> {
    let header: &[u8; 26] = bytes.first_chunk()?;
    let number = |at: usize| i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    match number(14) {
        12 => Some(Found::Size(number(18) as u32 & 0xFFFF, number(18) as u32 >> 16)),
        40..=124 => Some(Found::Size(number(18).unsigned_abs(), number(22).unsigned_abs())),
        _ => None,
    }
}

/// Reads the size in the first bytes of a GIF, PNG or WebP file.
fn fixed(format: ImageFormat, bytes: &[u8]) -> Option<(u32, u32)> {
    let little = |at: usize, length: usize| -> Option<u32> {
        Some(bytes.get(at..at + length)?.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    };
    match format {
        ImageFormat::Gif => Some((little(6, 2)?, little(8, 2)?)),
        ImageFormat::Png if bytes.get(12..16)? == b"IHDR" => {
            Some((little(16, 4)?.swap_bytes(), little(20, 4)?.swap_bytes()))
        }
        ImageFormat::WebP => match bytes.get(12..16)? {
            b"VP8 " if bytes.get(23..26)? == [0x9D, 0x01, 0x2A] => {
                Some((little(26, 2)? & 0x3FFF, little(28, 2)? & 0x3FFF))
            }
            b"VP8L" if *bytes.get(20)? == 0x2F => {
                let bits = little(21, 4)?;
                Some(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
            }
            b"VP8X" => Some((little(24, 3)? + 1, little(27, 3)? + 1)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_told_by_name() {
        let is = |path: &str, first: &[u8]| look(path.as_bytes(), first, true).unwrap();
        assert_eq!(is("a.jpg", b""), Look::Damaged);
        assert_eq!(is("a.png", b"not an image"), Look::Damaged);
        assert_eq!(is("notes.txt", b"BMW and P5 are no headers"), Look::Other);
        assert_eq!(is("a.HEIC", b"\0\0\0\x18ftypheic"), Look::Other);
        assert_eq!(is("a.jpg", b"\0\0\0\x18ftypheic"), Look::Misnamed("HEIC image".into()));
        assert_eq!(is("a.jpg", b"<!DOCTYPE html>"), Look::Misnamed("web page".into()));
        assert_eq!(
            is("a.jpg", b"version https://git-lfs.github.com/spec/v1"),
            Look::Misnamed("Git LFS pointer".into())
        );
        assert_eq!(is("a.tif", b"II*\0\x08\0\0\0"), Look::Other);
        assert_eq!(is("a.jpg", b"II*\0\x08\0\0\0"), Look::Misnamed("TIFF image".into()));
    }

    #[test]
    fn a_long_header_needs_more_bytes() {
        let start = [&[0xFF, 0xD8, 0xFF, 0xE1, 0xFF, 0xFF][..], &[0; FIRST]].concat();
        assert_eq!(look(b"a.jpg", &start, false), None);
        assert_eq!(look(b"a.jpg", &start, true), Some(Look::Damaged));
    }

    #[test]
    fn lists_of_validation_labels_are_known_by_name() {
        for list in ["val_annotations.txt", "a/LOC_val_solution.csv", "ILSVRC2012_validation_ground_truth.txt"] {
            assert!(is_label_list(list.as_bytes()), "{list}");
        }
        assert!(!is_label_list(b"val/readme.md") && !is_label_list(b"val/words.txt"));
    }

    #[test]
    fn an_extension_follows_a_name() {
        let of = |path: &str| extension(path.as_bytes());
        assert_eq!(of("a.b/c.JPG").as_deref(), Some("jpg"));
        assert_eq!([of("a.b/c"), of(".hidden"), of("c.")], [None, None, None]);
    }
}
