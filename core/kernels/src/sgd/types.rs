//! What a step of SGD takes.

use burn::backend::{Backend, ExtensionType, tensor::FloatTensor};

/// Input of a step of SGD.
#[derive(Debug, Clone, ExtensionType)]
pub struct SgdInput<B: Backend> {
    /// The parameters, `[n]`.
    pub values: FloatTensor<B>,
    /// `[n]`.
    pub velocities: FloatTensor<B>,
    /// `[n]`.
    pub gradient: FloatTensor<B>,
    /// Weight decay, `[n / ALIGNMENT]`.
    pub decay: FloatTensor<B>,
    /// Share of a velocity that is kept.
    pub momentum: f64,
    /// Learning rate.
    pub rate: f64,
}
