//! The training losses (spec sections 2 and 4).

pub mod distill;
pub mod info_nce;
pub mod reweight;

use burn::tensor::{Tensor, activation::log_softmax};

/// Added to a norm before dividing by it, as PyTorch's `normalize` does.
const TINY: f64 = 1e-12;

/// Scales every row to unit length. Shape: `[n, d]`, kept.
pub fn normalize(x: Tensor<2>) -> Tensor<2> {
    let norm = x.clone().powi_scalar(2).sum_dim(1).sqrt().clamp_min(TINY);
    x / norm
}

/// Mean over the rows of minus the sum of `target * log_softmax(logits)`: the cross-entropy to a
/// soft target. Shapes: `[n, c]`, `[n, c]`, to `[1]`.
pub fn soft_cross_entropy(logits: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let rows = logits.dims()[0] as f64;
    (target * log_softmax(logits, 1)).sum().div_scalar(-rows)
}
