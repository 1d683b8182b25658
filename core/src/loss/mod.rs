//! The training losses (spec sections 2 and 4).

pub mod contrast;
pub mod distill;
pub mod reweight;

use burn::tensor::{Tensor, activation::log_softmax};

/// Added to a norm before dividing by it, as PyTorch's `normalize` does.
const TINY: f64 = 1e-12;

/// Scales every row to unit length. Shape: `[n, d]`, kept.
pub fn normalize(x: Tensor<2>) -> Tensor<2> {
    // Bounded before the root, whose slope at zero is infinite: a row of zeros then has gradient zero.
    let norm = x.clone().powi_scalar(2).sum_dim(1).clamp_min(TINY * TINY).sqrt();
    x / norm
}

/// Mean over the rows of minus the sum of `target * log_softmax(logits)`: the cross-entropy to a
/// soft target. Shapes: `[n, c]`, `[n, c]`, to `[1]`.
pub fn soft_cross_entropy(logits: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let rows = logits.dims()[0] as f64;
    (target * log_softmax(logits, 1)).sum().div_scalar(-rows)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_row_of_zeros_has_a_finite_gradient() {
        let x = Tensor::<2>::from_data([[0.0, 0.0], [3.0, 4.0]], &Device::flex()).autodiff().require_grad();
        let unit = normalize(x.clone());
        let gradient = x.grad(&unit.clone().sum().backward()).unwrap();
        assert!(gradient.into_data().iter::<f32>().all(f32::is_finite));
        let unit: Vec<f32> = unit.without_autodiff().into_data().iter().collect();
        assert_eq!(unit, [0.0, 0.0, 0.6, 0.8]);
    }
}
