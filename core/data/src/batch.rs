//! Batches of images on the host.

use slimclr_run::normalisation::Normalisation;

use crate::augment::{ViewPlan, plan::Effects};

/// Views of a batch of images, for a training step.
#[derive(Debug, Clone)]
pub struct HostBatch {
    /// The method's views of all images ([`views`](crate::augment::views)). They may differ in size.
    pub views: Vec<HostViews>,
    /// The class of each image.
    pub labels: Vec<u32>,
}

/// One view of each image of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum HostViews {
    /// Finished views.
    Finished {
        /// Normalised pixels, `[batch, 3, size, size]`.
        pixels: Vec<f32>,
        /// Side of the views.
        size: usize,
    },
    /// Cropped views, which the device finishes.
    Cropped(CroppedViews),
}

/// Views that are cropped, resized and mirrored, but nothing else: a quarter of the bytes of finished ones.
#[derive(Debug, Clone, PartialEq)]
pub struct CroppedViews {
    /// RGB pixels, `[batch, size, size, 3]`.
    pub pixels: Vec<u8>,
    /// Side of the views.
    pub size: usize,
    /// What each view still needs.
    pub effects: Vec<Effects>,
    /// The normalisation of the finished views.
    pub normalisation: Normalisation,
}

/// One view of each image of a batch, to be made by a device that holds the images.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedViews {
    /// For each view the index of its image, and its random choices.
    pub plans: Vec<(u32, ViewPlan)>,
    /// Side of the views.
    pub size: usize,
    /// The normalisation of the views.
    pub normalisation: Normalisation,
}

/// The place of one view of one image in a batch.
#[derive(Debug)]
pub enum Slot<'a> {
    /// A finished view, `[3, size, size]`.
    Finished(&'a mut [f32]),
    /// A cropped view, `[size, size, 3]`, and what it still needs.
    Cropped(&'a mut [u8], &'a mut Effects),
}

/// An image that a batch takes views of.
#[derive(Debug)]
pub struct Source<'a> {
    /// Its index among the training images.
    pub index: u32,
    /// The epoch, and the image of the batch for which it is there: itself, or the one whose bag it is from. The random
    /// choices of its views depend on these.
    pub(crate) place: (u64, u32),
    /// The number and the place of each view.
    pub(crate) views: Vec<(usize, Slot<'a>)>,
}

impl HostViews {
    /// Splits the views into those of the images.
    pub fn slots(&mut self) -> Vec<Slot<'_>> {
        match self {
            Self::Finished { pixels, size } => pixels.chunks_exact_mut(values(*size)).map(Slot::Finished).collect(),
            Self::Cropped(CroppedViews { pixels, size, effects, .. }) => {
                let slot = |(pixels, effects)| Slot::Cropped(pixels, effects);
                pixels.chunks_exact_mut(values(*size)).zip(effects).map(slot).collect()
            }
        }
    }
}

/// Returns the number of values of a view with this side.
pub(crate) fn values(size: usize) -> usize {
    3 * size * size
}

/// Two augmented views of each of some images, for an evaluation.
#[derive(Debug, Clone, Default)]
pub struct ViewPairs {
    /// Normalised pixels of the first and of the second views, `[n, 3, size, size]` each, in row-major order.
    pub pixels: [Vec<f32>; 2],
    /// Side of the views.
    pub size: usize,
}

impl ViewPairs {
    /// Returns the number of images.
    pub fn images(&self) -> usize {
        self.pixels[0].len() / values(self.size)
    }
}

/// Images with their classes, for an evaluation.
#[derive(Debug, Clone, Default)]
pub struct LabelledImages {
    /// Normalised pixels, `[n, 3, size, size]` in row-major order.
    pub pixels: Vec<f32>,
    /// The class of each image.
    pub labels: Vec<u32>,
    /// The index of each image in its set; damaged images are left out.
    pub indices: Vec<usize>,
    /// Side of the images.
    pub size: usize,
}
