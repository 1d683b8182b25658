//! The training losses.

pub mod contrastive;
pub mod distill;
mod reading;

pub use slimclr_run::reweight;

pub use self::reading::{Loss, Quantity, Reading, StepLosses};
pub use crate::kernel::contrastive::normalize;

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

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
