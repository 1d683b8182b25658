//! The lock of a run's folder: one process at a time trains a run.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
};

use anyhow::{Context, Result, bail};

/// Name of the file that is locked. It stays in the folder: removing it would race with the next process.
const LOCK: &str = ".lock";

/// The right to train a run. It ends when this is dropped, or with the process, however that ends.
#[derive(Debug)]
pub struct RunLock {
    _files: Vec<File>,
}

impl RunLock {
    /// Takes the lock of the run in `folder`. It holds whatever happens to the other files there.
    ///
    /// # Errors
    /// If another process trains the run, or the folder cannot be written.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let mut files = vec![file.with_context(|| format!("cannot write {}", path.display()))?];
        // The folder itself is locked too, in case the file is deleted. It is not enough: NFS locks only what is open for
        // writing, and Windows opens no folders.
        if cfg!(unix) {
            files.push(File::open(folder).with_context(|| format!("cannot open the folder {}", folder.display()))?);
        }
        // Other errors come from file systems without locks.
        if files.iter().any(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock))) {
            bail!("{} is being trained by another process: wait for it, or choose another folder", folder.display());
        }
        Ok(Self { _files: files })
    }

    /// Returns the right of another rank than 0, which has taken the lock for all.
    pub fn of_other_rank() -> Self {
        Self { _files: Vec::new() }
    }

    /// Returns whether a process trains the run in `folder`. It tries to take the lock for a moment; no other process can
    /// take it in that moment.
    pub fn is_held(folder: &Path) -> bool {
        let is_locked = |path: &Path| {
            File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
        };
        is_locked(&folder.join(LOCK)) || (cfg!(unix) && is_locked(folder))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_lock_excludes_others_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let lock = RunLock::take(folder.path()).unwrap();
        let refused = || RunLock::take(folder.path()).unwrap_err().to_string().contains("another process");
        assert!(refused());
        if cfg!(unix) {
            fs::remove_file(folder.path().join(LOCK)).unwrap();
            assert!(refused(), "the lock is lost with its file");
        }
        drop(lock);
        RunLock::take(folder.path()).unwrap();
    }
}
