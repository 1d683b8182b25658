//! What the norm's operations take and return.

use burn::backend::{Backend, ExtensionType, tensor::FloatTensor};

/// Input of a norm, and what follows it.
#[derive(Debug, Clone, ExtensionType)]
pub struct NormInput<B: Backend> {
    /// `[batch, channels, height, width]`.
    pub x: FloatTensor<B>,
    /// Scale, `[channels]`.
    pub gamma: FloatTensor<B>,
    /// Shift, `[channels]`.
    pub beta: FloatTensor<B>,
    /// Whether ReLU follows the norm.
    pub relu: bool,
    /// What follows that.
    #[extension_type]
    pub shortcut: Shortcut<B>,
}

/// The shortcut of a residual block. Burn's extension types cannot contain an `Option`.
#[derive(Debug, Clone, ExtensionType)]
pub enum Shortcut<B: Backend> {
    /// There is none.
    None,
    /// It is added, then ReLU; of the input's shape.
    AddRelu(FloatTensor<B>),
}

impl<B: Backend> Shortcut<B> {
    /// Returns what is added, if anything.
    pub fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::None => None,
            Self::AddRelu(shortcut) => Some(shortcut),
        }
    }
}

/// Mean and variance of each channel.
#[derive(Debug, Clone, ExtensionType)]
pub struct Moments<B: Backend> {
    /// Mean.
    pub mean: FloatTensor<B>,
    /// Variance; a batch's is biased.
    pub variance: FloatTensor<B>,
}

/// Result of a norm in training.
#[derive(Debug, Clone, ExtensionType)]
pub struct NormOutput<B: Backend> {
    /// `[batch, channels, height, width]`.
    pub output: FloatTensor<B>,
    /// Statistics of the batch, `[channels]` each.
    #[extension_type]
    pub moments: Moments<B>,
}

/// What the backward pass of a norm needs of its forward pass.
#[derive(Debug, Clone)]
pub struct NormSaved<B: Backend> {
    /// As in [`NormInput`].
    pub x: FloatTensor<B>,
    /// As in [`NormInput`].
    pub gamma: FloatTensor<B>,
    /// As in [`NormInput`].
    pub beta: FloatTensor<B>,
    /// As in [`NormInput`].
    pub relu: bool,
    /// As in [`NormOutput`].
    pub moments: Moments<B>,
    /// Added to the variance.
    pub epsilon: f64,
    /// As in [`NormOutput`], if a shortcut was added: its zeros show where the last ReLU blocks the gradient.
    pub output: Option<FloatTensor<B>>,
}

/// Gradients of a norm's inputs.
#[derive(Debug, Clone)]
pub struct NormGradients<B: Backend> {
    /// `[batch, channels, height, width]`.
    pub x: FloatTensor<B>,
    /// `[channels]`.
    pub gamma: FloatTensor<B>,
    /// `[channels]`.
    pub beta: FloatTensor<B>,
    /// `[batch, channels, height, width]`, if a shortcut was added.
    pub shortcut: Option<FloatTensor<B>>,
}
