//! Batches of images on the host.

/// Views of a batch of images, for a training step.
#[derive(Debug, Clone)]
pub struct HostBatch {
    /// The method's views of all images, `[batch, 3, size, size]` each.
    pub pixels: Vec<Vec<f32>>,
    /// The class of each image.
    pub labels: Vec<u32>,
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
