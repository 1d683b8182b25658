//! Directories in cargo's target directory that are made once, and again when their ingredients change.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::process::target_directory;

/// A directory with a stamp file that records what it was made of.
pub struct StampedDir {
    path: PathBuf,
}

impl StampedDir {
    /// Returns the path of the directory `name` in cargo's target directory. If the directory is missing, incomplete or
    /// made of something else, `make` first fills it from empty. Several checkouts may share it.
    ///
    /// # Errors
    /// Those of `make`, or if the directory cannot be written.
    pub fn get(name: &str, made_of: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let directory = Self { path: target_directory()?.join(name) };
        fs::create_dir_all(&directory.path)?;
        let lock = File::create(directory.path.with_extension("lock"))?;
        lock.lock()?;
        if !directory.is_current(made_of) {
            fs::remove_dir_all(&directory.path)?;
            fs::create_dir_all(&directory.path)?;
            make(&directory.path)?;
            let stamp = directory.stamp();
            fs::write(&stamp, made_of).with_context(|| format!("cannot write {}", stamp.display()))?;
        }
        Ok(directory.path)
    }

    /// Returns the path of the stamp. It is written last: without it the directory is incomplete.
    fn stamp(&self) -> PathBuf {
        self.path.join("made-of.txt")
    }

    fn is_current(&self, made_of: &str) -> bool {
        fs::read_to_string(self.stamp()).is_ok_and(|stamp| stamp == made_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_stamp_is_current() {
        let folder = tempfile::tempdir().unwrap();
        let directory = StampedDir { path: folder.path().into() };
        assert!(!directory.is_current("torch==2"));
        fs::write(directory.stamp(), "torch==1").unwrap();
        assert!(!directory.is_current("torch==2"));
        fs::write(directory.stamp(), "torch==2").unwrap();
        assert!(directory.is_current("torch==2"));
    }
}
