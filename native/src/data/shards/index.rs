//! The samples of a shard, listed by the headers of its tar file and kept in the user's cache.

use std::{
    fs::{self, File},
    io::{Read, Seek},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use slimclr_core::data::shards::{Omission, Omitted, Role, Sample, Samples, role};

use crate::cache_folder::cache_folder;

/// Bytes of a tar file's header, and of the unit that members are padded to.
const BLOCK: u64 = 512;

/// Most bytes that are read of a `.cls`, whose number has a few digits.
const CLASS_BYTES: u64 = 32;

/// Bytes by which a compressed file is recognised.
const LONGEST_MAGIC: u64 = 6;

/// The samples of a shard, as of its size and modification time.
#[derive(Debug, Serialize, Deserialize)]
pub struct Index {
    bytes: u64,
    modified: SystemTime,
    /// The samples, in the order of the file.
    pub samples: Vec<Sample>,
    /// What is not used.
    pub omitted: Omitted,
}

impl Index {
    /// Lists the samples of the shard at `path`; of one listed before, and not changed since, by the cache.
    ///
    /// # Errors
    /// If it cannot be read or is no tar file.
    pub fn open(path: &Path) -> Result<Self> {
        let cached = cached(path);
        let file = fs::metadata(path)?;
        let is_current =
            |index: &Self| index.bytes == file.len() && file.modified().is_ok_and(|it| it == index.modified);
        let read = |cached: &PathBuf| serde_json::from_slice(&fs::read(cached).ok()?).ok();
        if let Some(index) = cached.as_ref().and_then(read).filter(is_current) {
            return Ok(index);
        }
        let index = Self::scan(path)?;
        if let Some(cached) = cached {
            // Need not succeed, and half a file is not valid JSON. Without it, only the next start takes longer.
            let _ = index.save(&cached);
        }
        Ok(index)
    }

    /// Lists the samples of the shard at `path` by its headers, seeking over what they describe.
    ///
    /// # Errors
    /// If it cannot be read or is no tar file.
    pub fn scan(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let bytes = metadata.len();
        check_format(&mut file)?;
        let mut samples = Samples::default();
        // Where the mark of the end begins at the earliest.
        let mut end = 0;
        let mut archive = tar::Archive::new(&mut file);
        for entry in archive.entries_with_seek()? {
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.raw_os_error().is_some() => return Err(error.into()),
                Err(_) if end == 0 => bail!("it is not a tar file"),
                Err(_) => {
                    end = bytes;
                    break;
                }
            };
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let (offset, size) = (entry.raw_file_position(), entry.size());
            end = offset.saturating_add(size);
            if end > bytes {
                break;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            match (role(&name), u32::try_from(size)) {
                (Some((key, Role::Image)), Ok(size)) => samples.image(key, &name, offset, size),
                (Some((key, Role::Class)), _) => {
                    let mut text = Vec::new();
                    (&mut entry).take(CLASS_BYTES).read_to_end(&mut text)?;
                    samples.class(key, &name, &text);
                }
                _ => {}
            }
        }
        if end.next_multiple_of(BLOCK).saturating_add(BLOCK) > bytes {
            samples.omit(Omission::CutShort, "");
        }
        let (samples, omitted) = samples.finish();
        Ok(Self { bytes, modified: metadata.modified()?, samples, omitted })
    }

    fn save(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path.parent().context("a cached index is in a folder")?)?;
        Ok(fs::write(path, serde_json::to_vec(self)?)?)
    }
}

/// Refuses files that hold a tar file at most in another form.
fn check_format(file: &mut File) -> Result<()> {
    let mut start = Vec::new();
    file.take(LONGEST_MAGIC).read_to_end(&mut start)?;
    file.rewind()?;
    let format = match start[..] {
        [] => bail!("the file is empty; fetch it again"),
        [0x1f, 0x8b, ..] => "gzip",
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        _ => return Ok(()),
    };
    bail!("it is compressed with {format}: decompress it, because images are read by their position in the tar file")
}

/// Returns the path of a shard's cached index; `None` without a folder for caches.
fn cached(shard: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(shard).ok()?;
    let name = HEXLOWER.encode(&Sha256::digest(path.as_os_str().as_encoded_bytes()));
    Some(cache_folder()?.join("shards").join(format!("{name}.json")))
}
