//! What the forms of the norm exchange.

use burn::backend::tensor::FloatTensor;

/// Output, mean and biased variance.
pub type Forward<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);
/// Gradients of the input, of gamma and of beta.
pub type Gradient<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);
