//! Folders that are made once, beside cargo's builds, of something that may change.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::process::target_directory;

/// A folder that is whole, and made of what it should be made of.
pub struct Sealed {
    folder: PathBuf,
}

impl Sealed {
    /// The folder of this name in cargo's target directory; made where it is not there, half made or out of date.
    /// It is empty when `make` begins. Several checkouts may share it.
    ///
    /// # Errors
    /// Those of `make`, or if nothing can be written there.
    pub fn folder(name: &str, made_of: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let sealed = Self { folder: target_directory()?.join(name) };
        fs::create_dir_all(&sealed.folder)?;
        let lock = File::create(sealed.folder.with_extension("lock"))?;
        lock.lock()?;
        if !sealed.is_whole(made_of) {
            fs::remove_dir_all(&sealed.folder)?;
            fs::create_dir_all(&sealed.folder)?;
            make(&sealed.folder)?;
            fs::write(sealed.seal(), made_of).context("the folder cannot be sealed")?;
        }
        Ok(sealed.folder)
    }

    /// Holds what the folder was made of, and is written last: without it, or with other contents, the folder is
    /// half made or out of date.
    fn seal(&self) -> PathBuf {
        self.folder.join("made-of.txt")
    }

    fn is_whole(&self, made_of: &str) -> bool {
        fs::read_to_string(self.seal()).is_ok_and(|seal| seal == made_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_whole_only_with_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Sealed { folder: folder.path().into() };
        assert!(!sealed.is_whole("torch==2"));
        fs::write(sealed.seal(), "torch==1").unwrap();
        assert!(!sealed.is_whole("torch==2"));
        fs::write(sealed.seal(), "torch==2").unwrap();
        assert!(sealed.is_whole("torch==2"));
    }
}
