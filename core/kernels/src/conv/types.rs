//! What the convolution's operations take.

use burn::backend::{Backend, ExtensionType, tensor::FloatTensor};

/// Input of a convolution; its backward pass needs it too.
#[derive(Debug, Clone, ExtensionType)]
pub struct ConvInput<B: Backend> {
    /// `[batch, in, height, width]`.
    pub x: FloatTensor<B>,
    /// `[out, in / groups, kernel, kernel]`; on a CPU in f32 even where `x` is in bfloat16.
    pub weight: FloatTensor<B>,
    /// Along both axes.
    pub stride: usize,
}
