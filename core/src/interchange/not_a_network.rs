//! Describes files that hold no network, by their first bytes.

use thiserror::Error;

/// A file that holds no network: what it is, and what to do. The text calls the file "it".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotANetwork {
    /// No bytes.
    #[error("it is empty: copy or download it again")]
    Empty,
    /// Too few bytes to tell.
    #[error("its length is only {0} B: copy or download it again")]
    Short(usize),
    /// Zeros, as in the parts of a file that were not written yet.
    #[error("it begins with zeros, as a file does whose copy or download was interrupted: copy or download it again")]
    Zeros,
    /// The text that Git keeps in place of a large file.
    #[error(
        "it is a Git LFS pointer, a text in place of the file{}: fetch the file with `git lfs pull`",
        .0.as_ref().map(|size| format!(" of {size} bytes")).unwrap_or_default()
    )]
    LfsPointer(Option<String>),
    /// A file of another program.
    #[error("it is {what}: {advice}")]
    Other {
        /// What it is.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Some text.
    #[error("it is not a network but text, which begins with '{0}': copy or download the network again")]
    Text(String),
    /// None of these.
    #[error(
        "it is neither a safetensors file nor one that torch.save wrote; convert it, in Python: \
         torch.save(model.state_dict(), 'weights.pth')"
    )]
    Unknown,
}

const UNPACK: &str = "unpack it, and choose the file inside";
const DOWNLOAD: &str = "a server sent it in place of the network; download the network itself";
const IMAGE: &str = "images to train or evaluate on are named with --data";
const CONVERT: &str = "convert it to safetensors, or to a state dict saved with torch.save";
const RESAVE: &str = "load it with the program that wrote it, and save its state dict with torch.save";

/// Places and bytes by which other kinds of file are recognised, with what they are and what to do.
const SIGNATURES: &[(usize, &[u8], &str, &str)] = &[
    (0, b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip, and choose the file inside"),
    (0, b"BZh", "compressed with bzip2", "unpack it with bunzip2, and choose the file inside"),
    (0, b"\xfd7zXZ\0", "compressed with xz", "unpack it with unxz, and choose the file inside"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with unzstd, and choose the file inside"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (0, b"Rar!", "a RAR archive", UNPACK),
    (257, b"ustar", "a tar archive", "unpack it with tar xf, and choose the file inside"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them", CONVERT),
    (0, b"\x93NUMPY", "a NumPy array", CONVERT),
    (0, b"GGUF", "a GGUF file", CONVERT),
    (0, b"\x08\x07\x12", "an ONNX file", "choose the file that it was exported from"),
    (0, b"\x08\x08\x12", "an ONNX file", "choose the file that it was exported from"),
    (0, b"\x08\x09\x12", "an ONNX file", "choose the file that it was exported from"),
    (0, b"\x08\x0a\x12", "an ONNX file", "choose the file that it was exported from"),
    (0, b"\x80\x02", "a Python pickle that torch.save did not write", RESAVE),
    (0, b"\x80\x03", "a Python pickle that torch.save did not write", RESAVE),
    (0, b"\x80\x04", "a Python pickle that torch.save did not write", RESAVE),
    (0, b"\x80\x05", "a Python pickle that torch.save did not write", RESAVE),
    (0, b"\xff\xd8\xff", "a JPEG image", IMAGE),
    (0, b"\x89PNG", "a PNG image", IMAGE),
    (0, b"GIF8", "a GIF image", IMAGE),
    (8, b"WEBP", "a WebP image", IMAGE),
    (0, b"%PDF", "a PDF document", "choose a network"),
];

/// Beginnings of texts, in lower case, after white space.
const TEXTS: &[(&str, &str, &str)] = &[
    ("<!doctype html", "an HTML page", DOWNLOAD),
    ("<html", "an HTML page", DOWNLOAD),
    ("<head", "an HTML page", DOWNLOAD),
    ("<script", "an HTML page", DOWNLOAD),
    ("<?xml", "an XML text", DOWNLOAD),
    ("{", "a JSON text", "choose the file that holds the tensors, beside it"),
    ("[", "a JSON text", "choose the file that holds the tensors, beside it"),
];

/// Bytes from the beginning that are examined.
const BEGINNING: usize = 512;
/// Minimum length of a file whose kind can be recognised.
const FEWEST: usize = 9;
/// Number of zeros at the beginning that identifies a file that was not written completely.
const ZEROS: usize = 64;
/// The first line of a Git LFS pointer, without its version.
const LFS: &str = "version https://git-lfs.github.com/spec/";
/// Characters of a text that are shown.
const SHOWN: usize = 40;

impl NotANetwork {
    /// Describes a file that begins with `bytes` and is of none of the kinds that hold networks.
    pub fn of(bytes: &[u8]) -> Self {
        let beginning = &bytes[..bytes.len().min(BEGINNING)];
        if bytes.is_empty() {
            return Self::Empty;
        }
        if beginning.len() >= FEWEST && beginning.iter().take(ZEROS).all(|byte| *byte == 0) {
            return Self::Zeros;
        }
        let has = |(at, signature, ..): &&(usize, &[u8], _, _)| {
            beginning.get(*at..).is_some_and(|rest| rest.starts_with(signature))
        };
        if let Some((_, _, what, advice)) = SIGNATURES.iter().find(has) {
            return Self::Other { what, advice };
        }
        if bytes.len() < FEWEST {
            return Self::Short(bytes.len());
        }
        text(beginning).map_or(Self::Unknown, Self::of_text)
    }

    fn of_text(text: &str) -> Self {
        if text.starts_with(LFS) {
            let size = text.lines().find_map(|line| line.strip_prefix("size "));
            return Self::LfsPointer(size.map(|size| size.trim().to_owned()));
        }
        let lower = text.to_lowercase();
        if let Some((_, what, advice)) = TEXTS.iter().find(|(beginning, ..)| lower.starts_with(beginning)) {
            return Self::Other { what, advice };
        }
        Self::Text(text.lines().next().unwrap_or_default().chars().take(SHOWN).collect())
    }
}

/// Returns a file's beginning as text, without the white space before it. `None` if it is not text.
fn text(beginning: &[u8]) -> Option<&str> {
    let valid = match str::from_utf8(beginning) {
        Ok(text) => text,
        // A character that the beginning does not hold whole.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            str::from_utf8(&beginning[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |character: char| !character.is_control() || character.is_whitespace();
    let text = valid.trim_start_matches('\u{feff}').trim_start();
    (!text.is_empty() && valid.chars().all(is_text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_no_network_are_described() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 97781949\n";
        let tar = [&[b'a'; 257][..], b"ustar\x0000"].concat();
        let beyond = "ü".repeat(BEGINNING);
        for (bytes, sentence) in [
            (&b""[..], "it is empty: copy or download it again"),
            (b"\x12\xf0\0", "its length is only 3 B: copy or download it again"),
            (&[0; 4096], "it begins with zeros, as"),
            (
                pointer,
                "it is a Git LFS pointer, a text in place of the file of 97781949 bytes: fetch the file with `git lfs pull`",
            ),
            (
                b"version https://git-lfs.github.com/spec/v1",
                "it is a Git LFS pointer, a text in place of the file: fetch",
            ),
            (b"\n<!DOCTYPE html>\n<html lang=\"en\">", "it is an HTML page: a server sent it in place of the network"),
            (b"\xef\xbb\xbf<HTML>", "it is an HTML page: "),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>", "it is an XML text: "),
            (b"{\"error\": \"Not Found\"}", "it is a JSON text: "),
            (b"\x1f\x8b\x08\x08", "it is compressed with gzip: unpack it with gunzip"),
            (&tar, "it is a tar archive: unpack it with tar xf"),
            (b"\x89HDF\r\n\x1a\n\0", "it is an HDF5 file"),
            (b"\x80\x04\x95\x10\0\0\0\0\0\0\0}", "it is a Python pickle that torch.save did not write: "),
            (b"\x08\x08\x12\x07slimclr", "it is an ONNX file: "),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", "it is a JPEG image: "),
            (b"Entry not found", "it is not a network but text, which begins with 'Entry not found': "),
            (beyond.as_bytes(), "it is not a network but text"),
            (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", "it is neither a safetensors file nor one that torch.save wrote"),
        ] {
            let error = NotANetwork::of(bytes).to_string();
            assert!(error.starts_with(sentence), "{error}");
        }
    }
}
