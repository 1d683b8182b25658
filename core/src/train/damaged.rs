//! Images that turn out to be damaged while a run reads them: how many it bears, and what the user is told.

use std::collections::HashSet;

use super::Split;
use crate::data::folder::IMAGES_PER_DAMAGED;

/// Damaged images whose names are told.
const NAMED: usize = 3;

/// The damaged images of a run, which others replace.
#[derive(Debug)]
pub struct DamagedImages {
    /// Number of all images.
    images: usize,
    known: HashSet<(Split, usize)>,
    /// Names of the first ones, with why they cannot be decoded.
    named: Vec<String>,
}

/// More than one image in ten is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{count} of {images} images are damaged: replace these files, then resume ({names})")]
pub struct TooManyDamagedError {
    count: usize,
    images: usize,
    names: String,
}

impl DamagedImages {
    /// Creates an empty record for this many images, training and test images together.
    pub fn new(images: usize) -> Self {
        Self { images, known: HashSet::new(), named: Vec::new() }
    }

    /// Returns how many images are damaged.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Returns whether the image at `index` of a split is damaged.
    pub fn contains(&self, split: Split, index: usize) -> bool {
        self.known.contains(&(split, index))
    }

    /// Adds the image `name`, which cannot be decoded for the reason `why`. Returns whether it is new.
    pub fn add(&mut self, (split, index): (Split, usize), name: &str, why: &str) -> bool {
        let is_new = self.known.insert((split, index));
        if is_new && self.named.len() < NAMED {
            self.named.push(format!("{name}: {why}"));
        }
        is_new
    }

    /// Checks that at most one image in ten is damaged.
    ///
    /// # Errors
    /// If there are more.
    pub fn check(&self) -> Result<(), TooManyDamagedError> {
        let count = self.count();
        if count * IMAGES_PER_DAMAGED > self.images {
            return Err(TooManyDamagedError { count, images: self.images, names: self.named.join("; ") });
        }
        Ok(())
    }

    /// Names the only damaged image, or says how many there are and names some. Returns `None` if there are none.
    pub fn summary(&self) -> Option<String> {
        let names = self.named.join("; ");
        match self.count() {
            0 => None,
            1 => Some(format!("an image is damaged and left out: {names}")),
            count => {
                let more = if count > self.named.len() { "; …" } else { "" };
                Some(format!("{count} images are damaged and were left out: {names}{more}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_named_and_more_than_a_tenth_is_too_many() {
        let mut damaged = DamagedImages::new(29);
        assert_eq!(damaged.summary(), None);
        assert!(damaged.add((Split::Train, 7), "7.jpg", "it is cut short"));
        assert!(!damaged.add((Split::Train, 7), "7.jpg", "it is cut short"));
        assert!(damaged.contains(Split::Train, 7) && !damaged.contains(Split::Test, 7));
        assert_eq!(damaged.summary().as_deref(), Some("an image is damaged and left out: 7.jpg: it is cut short"));
        assert!(damaged.add((Split::Test, 7), "8.jpg", "it is empty"));
        damaged.check().unwrap();
        damaged.add((Split::Test, 9), "9.jpg", "it is empty");
        let names = "7.jpg: it is cut short; 8.jpg: it is empty; 9.jpg: it is empty";
        assert_eq!(damaged.summary(), Some(format!("3 images are damaged and were left out: {names}")));
        let error = damaged.check().unwrap_err().to_string();
        assert_eq!(error, format!("3 of 29 images are damaged: replace these files, then resume ({names})"));
        damaged.add((Split::Test, 10), "10.jpg", "it is empty");
        assert!(damaged.summary().unwrap().ends_with("9.jpg: it is empty; …"));
    }
}
