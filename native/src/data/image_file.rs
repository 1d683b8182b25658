//! Image files of a folder.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use slimclr_core::data::names::shown;

use super::listing::Stamp;

/// Longest image file that is read, in bytes.
const LONGEST: u64 = 1 << 30;

/// An image file.
pub struct ImageFile {
    /// Its path.
    pub path: PathBuf,
    /// The class of the image.
    pub label: u32,
    /// What changes when its content does.
    pub stamp: Stamp,
}

/// Returns a path as it is shown to the user.
pub fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes())
}

/// Reads an image file.
///
/// # Errors
/// If it cannot be read, or is too long for an image.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > LONGEST {
        bail!("it has {length} bytes; the most is {LONGEST}");
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
