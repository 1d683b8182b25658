//! Mixed precision: matrix products in 16 bits, everything else in 32 (Micikevicius et al. 2018).

use burn::tensor::{DType, Device, FloatDType, Tensor};

use crate::kernel::{conv::Factors, device::is_gpu};

pub use slimclr_run::precision::Precision;

fn low_dtype(precision: Precision) -> Option<FloatDType> {
    match precision {
        Precision::F32 => None,
        Precision::Bf16 => Some(FloatDType::BF16),
        Precision::F16 => Some(FloatDType::F16),
    }
}

/// Returns whether `device` supports `precision`.
pub fn is_supported(precision: Precision, device: &Device) -> bool {
    low_dtype(precision).is_none_or(|dtype| device.supports_dtype(dtype))
}

/// Computes `product` of `x` and `weight` in `precision`. The result has the dtype of `x`.
///
/// In bf16 on a CPU, tensors stay in 32 bits and the product gets the factors that it may take: a convolution rounds
/// values while it copies them, and a linear layer is bound by reading its weight.
pub fn in_precision<const D: usize>(
    precision: Precision,
    x: Tensor<D>,
    weight: Tensor<D>,
    product: impl FnOnce(Tensor<D>, Tensor<D>, Factors) -> Tensor<D>,
) -> Tensor<D> {
    match low_dtype(precision) {
        None => product(x, weight, Factors::F32),
        Some(FloatDType::BF16) if x.dtype() == DType::F32 && !is_gpu(&x.device()) => product(x, weight, Factors::Bf16),
        Some(low) => {
            let before = FloatDType::from(x.dtype());
            product(x.cast(low), weight.cast(low), Factors::F32).cast(before)
        }
    }
}
