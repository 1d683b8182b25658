//! Files of PyTorch since 1.6: a zip archive of a pickle and of each storage's bytes.

use std::{
    borrow::Cow,
    cell::RefCell,
    io::{Cursor, Read},
};

use zip::{
    CompressionMethod, ZipArchive,
    read::{ArchiveOffset, Config, ZipReadOptions},
    result::ZipError,
};

use super::{PytorchError, policy, value::Pickle};

/// Bytes of the record that ends an archive, without its comment.
const END: usize = 22;

type Archive = ZipArchive<Cursor<Vec<u8>>>;

/// The archive of a file, whose storages are read on demand.
pub struct ZipFile {
    archive: RefCell<Archive>,
    /// Name of the folder in the archive.
    folder: String,
}

impl ZipFile {
    /// Whether the file begins as archives do.
    pub fn recognises(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK")
    }

    /// Opens an archive. Returns it and its pickle.
    ///
    /// # Errors
    /// If it is damaged, is not what `torch.save` writes, or holds what [`policy::read`] refuses.
    pub fn open(bytes: Vec<u8>) -> Result<(Self, Pickle), PytorchError> {
        // PyTorch writes zip64 records after the directory even where they are not needed. The default, which searches for
        // the directory, then takes its second entry for the first if that is as long as the records.
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        if !has_end(&bytes) {
            return Err(PytorchError::CutShort(bytes.len()));
        }
        let mut archive = ZipArchive::with_config(config, Cursor::new(bytes))?;
        if archive.has_duplicate_names() {
            return Err(ZipError::InvalidArchive("two entries have the same name".into()).into());
        }
        let names = || archive.file_names_raw().map(String::from_utf8_lossy);
        let Some(folder) = names().find_map(|name| Some(name.strip_suffix("/data.pkl")?.to_owned())) else {
            return Err(PytorchError::NoPickle(names().next().map_or("nothing".into(), Cow::into_owned)));
        };
        if archive.index_for_name(&format!("{folder}/constants.pkl")).is_some() {
            return Err(PytorchError::TorchScript);
        }
        let byte_order = format!("{folder}/byteorder");
        // Absent before PyTorch 2.1.
        if archive.index_for_name(&byte_order).is_some() {
            let order = String::from_utf8_lossy(&read(&mut archive, &byte_order)?).into_owned();
            if order != "little" {
                return Err(PytorchError::ByteOrder(order));
            }
        }
        let (pickle, _) = policy::read(&read(&mut archive, &format!("{folder}/data.pkl"))?, 0)?;
        Ok((Self { archive: RefCell::new(archive), folder }, pickle))
    }

    /// Returns the bytes of the storage `key`.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn storage(&self, key: &str) -> Result<Vec<u8>, PytorchError> {
        read(&mut self.archive.borrow_mut(), &format!("{}/data/{key}", self.folder))
    }
}

/// Returns whether the archive has the record that ends it. Only a comment of up to 64 KiB may follow.
fn has_end(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(END + usize::from(u16::MAX))..];
    tail.windows(4).any(|window| window == b"PK\x05\x06")
}

/// Reads an entry of the archive.
fn read(archive: &mut Archive, name: &str) -> Result<Vec<u8>, PytorchError> {
    let index = archive.index_for_name(name).ok_or(ZipError::FileNotFound)?;
    // PyTorch can be told to write no checksums.
    let has_checksum = archive.by_index_raw(index)?.crc32() != 0;
    let mut entry = archive.by_index_with_options(index, ZipReadOptions::new().ignore_crc32(!has_checksum))?;
    // Without compression, an entry is no longer than the file.
    if entry.compression() != CompressionMethod::Stored {
        return Err(PytorchError::Compressed(name.into()));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{super::fixture, *};

    #[test]
    fn the_directory_is_found_before_zip64_records() {
        // 21 characters, with which the first entry of the directory is as long as the records.
        let folder = "full_model_checkpoint";
        let [pickle, storage] = ["data.pkl", "data/0"].map(|entry| format!("{folder}/{entry}"));
        let mut bytes = fixture::zip([(pickle.as_str(), &b"\x80\x02}."[..]), (&storage, b"\x00\x00\x80\x3f")]);
        let end = bytes.len() - 22;
        bytes.splice(end..end, [0; 76]);
        let (file, _) = ZipFile::open(bytes).unwrap();
        assert_eq!(file.storage("0").unwrap(), b"\x00\x00\x80\x3f");
    }
}
