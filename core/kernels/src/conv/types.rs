//! What the convolution's operations take.

use burn::backend::{Backend, ExtensionType, tensor::FloatTensor};

/// What a convolution on a CPU may multiply, forward and backward. Sums and results are in f32 either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Factors {
    /// The values as they are.
    #[default]
    F32,
    /// The values rounded to bfloat16, if that is faster on this processor.
    Bf16,
}

/// Input of a convolution; its backward pass needs it too.
#[derive(Debug, Clone, ExtensionType)]
pub struct ConvInput<B: Backend> {
    /// `[batch, in, height, width]`.
    pub x: FloatTensor<B>,
    /// `[out, in / groups, kernel, kernel]`.
    pub weight: FloatTensor<B>,
    /// Along both axes.
    pub stride: usize,
    /// GPUs take the tensors' dtype instead.
    pub factors: Factors,
}
