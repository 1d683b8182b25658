//! A cache of the bundle's intermediate files, addressed by the hash of what they were made from.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Files and folders, each named by the hash of its inputs.
pub struct BuildCache {
    folder: PathBuf,
    used: HashSet<OsString>,
}

impl BuildCache {
    /// Opens the cache in `folder`, and makes the folder if it is missing.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self { folder, used: HashSet::new() })
    }

    /// Returns the path of the output for these inputs; if it is not in the cache, `make` first writes it to the path
    /// that it is given.
    ///
    /// # Errors
    /// Those of `make`, or if the output cannot be moved into the cache.
    pub fn get(&mut self, inputs: &[&[u8]], make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let mut digest = Sha256::new();
        for input in inputs {
            digest.update((input.len() as u64).to_le_bytes());
            digest.update(input);
        }
        let name = hexadecimal(&digest.finalize());
        let output = self.folder.join(&name);
        if !output.exists() {
            let unfinished = self.folder.join("unfinished");
            remove(&unfinished)?;
            make(&unfinished)?;
            fs::rename(&unfinished, &output)?;
        }
        self.used.insert(name.into());
        Ok(output)
    }

    /// Removes all outputs that [`get`](Self::get) has not returned since the cache was opened.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn remove_unused(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !self.used.contains(&entry.file_name()) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes a file or folder if it exists.
///
/// # Errors
/// If it exists and cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Returns bytes as hexadecimal text.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_made_once_and_kept_while_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let open = || BuildCache::open(folder.path().into()).unwrap();
        let write = |path: &Path| Ok(fs::write(path, "made")?);
        let mut cache = open();
        let output = cache.get(&[b"ab", b"c"], write).unwrap();
        assert_eq!(cache.get(&[b"ab", b"c"], |_| panic!("made twice")).unwrap(), output);
        assert_ne!(cache.get(&[b"a", b"bc"], write).unwrap(), output);
        let mut cache = open();
        cache.get(&[b"ab", b"c"], |_| panic!("made twice")).unwrap();
        cache.remove_unused().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_no_output() {
        let folder = tempfile::tempdir().unwrap();
        let mut cache = BuildCache::open(folder.path().into()).unwrap();
        let half = |path: &Path| {
            fs::write(path, "half")?;
            anyhow::bail!("interrupted")
        };
        assert!(cache.get(&[b"x"], half).is_err());
        let output = cache.get(&[b"x"], |path| Ok(fs::write(path, "whole")?)).unwrap();
        assert_eq!(fs::read_to_string(output).unwrap(), "whole");
    }
}
