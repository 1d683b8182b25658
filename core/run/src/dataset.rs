//! What identifies a data set, without its images.

use serde::{Deserialize, Serialize};

use crate::normalisation::Normalisation;

/// What identifies a data set: a run keeps it, to notice that its images have changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetSummary {
    /// Mean and standard deviation of the images' channels.
    pub normalisation: Normalisation,
    /// Names of the classes, in the order of their labels; empty if the images have no labels.
    pub classes: Vec<String>,
    /// The training images.
    pub train: SplitSummary,
    /// The test images.
    pub test: SplitSummary,
}

/// What identifies the images of one split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// Number of images.
    pub images: usize,
    /// SHA-256, in hexadecimal, of the names of their files below the data set's folder and of their labels, in order;
    /// of the pixels, where there are no files. `None` if it was not computed.
    pub digest: Option<String>,
}

impl DatasetSummary {
    /// Returns whether the images have labels.
    pub fn has_labels(&self) -> bool {
        !self.classes.is_empty()
    }
}
