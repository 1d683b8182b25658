//! What a training run needs from the program around it.

use burn::tensor::Device;

use crate::{
    data::batch::{LabelledImages, ViewPairs},
    dataset::DatasetSummary,
    method::Batch,
};

/// A split of the labelled images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// The training images. Their labels are used only for evaluation, except by supervised methods.
    Train,
    /// The test images.
    Test,
}

impl Split {
    /// Returns the split whose augmented views evaluations compare: the test images, or the training images if there
    /// are fewer than two test images.
    pub fn of_pairs(dataset: &DatasetSummary) -> Self {
        if dataset.test.images < 2 { Self::Train } else { Self::Test }
    }
}

/// The program around a run: it supplies images and a clock, and stores files.
#[allow(async_fn_in_trait, reason = "the loop and its host run on one thread")]
pub trait Host {
    /// The error of reading images or storing files, as users see it.
    type Error: std::error::Error + 'static;

    /// Returns what identifies the run's images.
    fn dataset(&self) -> &DatasetSummary;

    /// Returns the seconds since a fixed moment.
    fn now(&self) -> f64;

    /// Returns the batch of `step`, on `device`. The future is dropped if the run is stopped while it waits.
    async fn batch(&mut self, step: u64, device: &Device) -> Result<Batch, Self::Error>;

    /// Returns how many images of a split an evaluation uses.
    fn evaluated(&self, split: Split) -> usize;

    /// Returns a chunk of the labelled images of a split that an evaluation uses, or `None` after the last. Chunks are
    /// numbered from 0 and have any size.
    async fn labelled(&mut self, split: Split, chunk: usize) -> Result<Option<LabelledImages>, Self::Error>;

    /// Returns two views of each image of a chunk of a sample of [`Split::of_pairs`], or `None` after the last chunk.
    /// Chunks are numbered from 0 and have any size; images and views are the same at every call.
    async fn view_pairs(&mut self, chunk: usize) -> Result<Option<ViewPairs>, Self::Error>;

    /// Stores a file of the run.
    async fn save(&mut self, what: Artifact, file: Vec<u8>) -> Result<(), Self::Error>;

    /// Returns the file of gradients that was stored after `step` steps, if there is one.
    async fn gradients(&mut self, step: u64) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// A file that a run stores, in the safetensors format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Artifact {
    /// The whole state, which replaces the previous one ([`checkpoint::save`](crate::checkpoint::save)).
    Checkpoint,
    /// The encoder's parameters after this number of steps ([`Snapshot`](crate::checkpoint::Snapshot)).
    Snapshot(u64),
    /// The last layers' gradients of this step
    /// ([`LastGradients`](crate::interference::direction::LastGradients)).
    Gradients(u64),
}
