//! Mixed precision: matrix products in 16 bits, everything else in 32 (Micikevicius et al. 2018).

use burn::tensor::{Device, FloatDType, Tensor};

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
pub fn in_precision<const D: usize>(
    precision: Precision,
    x: Tensor<D>,
    weight: Tensor<D>,
    product: impl FnOnce(Tensor<D>, Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    match low_dtype(precision) {
        None => product(x, weight),
        Some(low) => {
            let before = FloatDType::from(x.dtype());
            product(x.cast(low), weight.cast(low)).cast(before)
        }
    }
}
