//! The markers of a JPEG file: enough to know its size, whether it is complete, and what its colours are (ITU-T T.81,
//! annex B).

/// Start of a scan: entropy-coded data follows.
const SOS: u8 = 0xDA;
/// End of the image.
const EOI: [u8; 2] = [0xFF, 0xD9];

/// A marker with its segment.
struct Segment<'a> {
    marker: u8,
    content: &'a [u8],
}

/// What the beginning of a JPEG file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Header {
    /// Width and height in pixels, followed by compressed pixels.
    Size(u32, u32),
    /// The bytes end before the first compressed pixel.
    CutShort,
    /// Not a JPEG image.
    Invalid,
}

/// Reads the header.
pub(crate) fn header(bytes: &[u8]) -> Header {
    let mut size = None;
    let mut rest = bytes;
    while let Some(Segment { marker, content }) = next_segment(&mut rest) {
        match marker {
            SOS => return size.map_or(Header::Invalid, |(width, height)| Header::Size(width, height)),
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                let [_, tall, high, wide, low, ..] = *content else { return Header::Invalid };
                size = Some((u16::from_be_bytes([wide, low]).into(), u16::from_be_bytes([tall, high]).into()));
            }
            0xD9 => return Header::Invalid,
            _ => {}
        }
    }
    Header::CutShort
}

/// Returns whether the file reaches its end-of-image marker. Without it, compressed pixels are missing, or at least
/// their end is unknown; libjpeg then waits for more bytes. A marker inside a header, such as that of a thumbnail, does
/// not count.
pub(crate) fn is_complete(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(segment) = next_segment(&mut rest) {
        if segment.marker == SOS {
            // Compressed pixels contain 0xFF only before 0, in restart markers and in this one.
            return rest.ends_with(&EOI) || rest.windows(2).any(|pair| pair == EOI);
        }
    }
    false
}

/// Returns whether a file's colours are grey or Y'CbCr by all rules of guessing them, which differ among decoders: neither
/// are its components named R, G and B, nor does Adobe's segment say that they are not transformed.
pub(crate) fn has_plain_colours(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(Segment { marker, content }) = next_segment(&mut rest) {
        match (marker, content) {
            (0xEE, [b'A', b'd', b'o', b'b', b'e', .., 0]) => return false,
            (0xC0..=0xC2, [_, _, _, _, _, 3, r, _, _, g, _, _, b, ..])
                if [*r, *g, *b].map(|name| name.to_ascii_uppercase()) == *b"RGB" =>
            {
                return false;
            }
            (SOS, _) => return true,
            _ => {}
        }
    }
    false
}

/// Takes the next marker with its segment from `rest`, skipping other bytes as libjpeg does. Returns `None` if the
/// segment is incomplete.
fn next_segment<'a>(rest: &mut &'a [u8]) -> Option<Segment<'a>> {
    loop {
        let start = rest.iter().position(|byte| *byte == 0xFF)?;
        let (marker, after) = rest[start + 1..].split_first()?;
        match *marker {
            // Fill bytes: the next one may be the marker's.
            0xFF => *rest = &rest[start + 1..],
            // Stuffing, and markers without a segment.
            0x00 | 0x01 | 0xD0..=0xD8 => *rest = after,
            0xD9 => {
                *rest = after;
                return Some(Segment { marker: 0xD9, content: &[] });
            }
            marker => {
                let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
                let content = after.get(2..length.max(2))?;
                *rest = &after[length.max(2)..];
                return Some(Segment { marker, content });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with a thumbnail's markers in an APP1 segment, and `pixels` as compressed data.
    fn file(pixels: &[u8]) -> Vec<u8> {
        let thumbnail = [0xFF, 0xD8, 0xFF, 0xC0, 0, 7, 8, 0, 1, 0, 1, 0xFF, 0xD9];
        let mut file = vec![0xFF, 0xD8, 0xFF, 0xE1, 0, 15];
        file.extend(thumbnail);
        file.extend([0xFF, 0xFF, 0xC2, 0, 8, 8, 0x01, 0x02, 0x03, 0x04, 1]);
        file.extend([0xFF, SOS, 0, 3, 1]);
        file.extend(pixels);
        file
    }

    #[test]
    fn the_size_is_the_images_not_the_thumbnails() {
        let file = file(&[]);
        assert_eq!(header(&file), Header::Size(0x304, 0x102));
        for length in 0..file.len() {
            assert_eq!(header(&file[..length]), Header::CutShort, "{length}");
        }
        assert_eq!(header(&[0xFF, 0xD8, 0xFF, 0xD9]), Header::Invalid);
    }

    #[test]
    fn a_file_without_its_end_is_incomplete() {
        let whole = file(&[1, 0xFF, 0, 0xFF, 0xD0, 2, 0xFF, 0xD9]);
        assert!(is_complete(&whole));
        assert!(is_complete(&[&whole[..], b"trailing bytes"].concat()));
        for length in 0..whole.len() {
            assert!(!is_complete(&whole[..length]), "{length}");
        }
    }
}
