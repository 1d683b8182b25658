//! What goes wrong with the images while a run trains: files that cannot be read or decoded, and a disk that goes away.

use std::{
    path::Path,
    sync::{Mutex, RwLock},
    thread,
    time::Duration,
};

use anyhow::{Error, Result, bail};
use slimclr_core::{
    data::folder::Purpose,
    train::{DamagedImages, Split},
};

use super::{folder::is_gone, image_file::shown_path};
use crate::terminal::{note, warn};

/// Seconds to wait for a folder that is gone.
const WAIT: u64 = 60;

/// The damaged images of a run, as all threads that decode images find them.
pub struct Damage {
    images: RwLock<DamagedImages>,
    /// Whether only few images may be damaged.
    is_limited: bool,
    /// Whether the folder was waited for in vain.
    is_gone: Mutex<bool>,
}

impl Damage {
    /// Creates an empty record for a data set of this many images to train on, or for this other purpose.
    pub fn new(images: usize, purpose: Purpose) -> Self {
        Self {
            images: RwLock::new(DamagedImages::new(images)),
            is_limited: purpose == Purpose::Training,
            is_gone: Mutex::new(false),
        }
    }

    /// Returns whether an image is known to be damaged.
    pub fn is_known(&self, split: Split, index: usize) -> bool {
        self.images.read().expect(NO_PANIC).contains(split, index)
    }

    /// Remembers the damaged image `name`, and warns of the first one.
    ///
    /// # Errors
    /// If more than one image in ten is damaged, and a run trains on them.
    pub fn record(&self, image: (Split, usize), name: &str, why: &Error) -> Result<()> {
        let mut images = self.images.write().expect(NO_PANIC);
        let is_first = images.add(image, name, &format!("{why:#}")) && images.count() == 1;
        if let Some(first) = images.summary().filter(|_| is_first) {
            warn(&first);
        }
        if self.is_limited { Ok(images.check()?) } else { Ok(()) }
    }

    /// Waits for the folder `root` if it is gone. Returns whether it was.
    ///
    /// # Errors
    /// If it does not come back within a minute.
    pub fn wait_for(&self, root: &Path) -> Result<bool> {
        self.wait(root, WAIT)
    }

    fn wait(&self, root: &Path, seconds: u64) -> Result<bool> {
        if !is_gone(root) {
            return Ok(false);
        }
        // Others wait here for the first.
        let mut is_lost = self.is_gone.lock().expect(NO_PANIC);
        let name = shown_path(root);
        if !*is_lost && is_gone(root) {
            warn(&format!("the images in {name} are gone: waiting {seconds} seconds for them"));
            *is_lost = !(0..seconds).any(|_| {
                thread::sleep(Duration::from_secs(1));
                !is_gone(root)
            });
            if !*is_lost {
                note(&format!("the images in {name} are back"));
            }
        }
        if *is_lost {
            bail!("the images in {name} have been gone for {seconds} seconds: bring them back, then resume");
        }
        Ok(true)
    }

    /// Describes the damaged images, unless the warning of the first one told all.
    pub fn summary(&self) -> Option<String> {
        let images = self.images.read().expect(NO_PANIC);
        images.summary().filter(|_| images.count() > 1)
    }
}

const NO_PANIC: &str = "no thread panics while it holds the lock";

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::anyhow;

    use super::*;

    #[test]
    fn more_than_a_tenth_ends_the_run() {
        let damage = Damage::new(29, Purpose::Training);
        let record = |split, index| damage.record((split, index), &format!("{index}.jpg"), &anyhow!("it is cut short"));
        record(Split::Train, 7).unwrap();
        record(Split::Train, 7).unwrap();
        assert_eq!(damage.summary(), None);
        assert!(damage.is_known(Split::Train, 7) && !damage.is_known(Split::Test, 7));
        record(Split::Test, 8).unwrap();
        let expected = "2 images are damaged and were left out: 7.jpg: it is cut short; 8.jpg: it is cut short";
        assert_eq!(damage.summary().as_deref(), Some(expected));
        let error = record(Split::Train, 9).unwrap_err().to_string();
        assert!(error.starts_with("3 of 29 images are damaged: replace these files"), "{error}");
    }

    #[test]
    fn a_folder_that_is_gone_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let [root, away] = ["root", "away"].map(|name| folder.path().join(name));
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a.jpg"), "").unwrap();
        let damage = Damage::new(10, Purpose::Training);
        assert!(!damage.wait(&root, 9).unwrap());
        fs::rename(&root, &away).unwrap();
        let back = thread::spawn({
            let (root, away) = (root.clone(), away.clone());
            move || {
                thread::sleep(Duration::from_millis(300));
                fs::rename(away, root).unwrap();
            }
        });
        assert!(damage.wait(&root, 9).unwrap());
        back.join().unwrap();
        // An empty folder is where a disk was.
        fs::remove_file(root.join("a.jpg")).unwrap();
        for _ in 0..2 {
            let error = damage.wait(&root, 1).unwrap_err().to_string();
            assert!(error.contains("have been gone for 1 seconds"), "{error}");
        }
    }
}
