//! Mixed precision: matrix products in 16 bits, everything else in 32 (Micikevicius et al. 2018).

use burn::tensor::{DType, Device, FloatDType, Tensor};

use crate::{
    encoder::BackboneKind,
    kernel::{
        conv::{has_bf16, has_matrix_unit},
        device::is_gpu,
    },
};

pub use slimclr_run::precision::Precision;

fn low_dtype(precision: Precision) -> Option<FloatDType> {
    match precision {
        Precision::F32 | Precision::Auto => None,
        Precision::Bf16 => Some(FloatDType::BF16),
        Precision::F16 => Some(FloatDType::F16),
    }
}

/// Returns whether `device` supports `precision`.
pub fn is_supported(precision: Precision, device: &Device) -> bool {
    low_dtype(precision).is_none_or(|dtype| device.supports_dtype(dtype))
}

/// Returns the precision of a run whose options ask for `precision`: `Auto` becomes bf16 for a residual network on a CPU
/// with a matrix unit, where the whole step is faster (BENCHMARKS.md), and f32 elsewhere. Undecided, it is f32, too.
pub fn decide(precision: Precision, backbone: BackboneKind, device: &Device) -> Precision {
    match precision {
        // Kinds of one size have depthwise convolutions, which no unit multiplies.
        Precision::Auto if backbone.has_sizes() && !is_gpu(device) && has_matrix_unit() => Precision::Bf16,
        Precision::Auto => Precision::F32,
        decided => decided,
    }
}

/// Convolves `x` with `weight` in `precision`, by `conv`. The result has the dtype of `x`, except in bf16 on a CPU that
/// multiplies it: there it is in bfloat16, as are all activations until [`in_32_bits`], while weights and their gradients
/// stay in 32 bits.
pub fn conv_in_precision<const D: usize>(
    precision: Precision,
    x: Tensor<D>,
    weight: Tensor<D>,
    conv: impl FnOnce(Tensor<D>, Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    if precision == Precision::Bf16 && !is_gpu(&x.device()) && has_bf16() {
        let x = if x.dtype() == DType::BF16 { x } else { x.cast(FloatDType::BF16) };
        return conv(x, weight);
    }
    linear_in_precision(precision, x, weight, conv)
}

/// Computes `product` of `x` and `weight` in `precision`. The result has the dtype of `x`. On CPUs bf16 is f32 here:
/// there are few rows, so that reading the weight takes longest.
pub fn linear_in_precision<const D: usize>(
    precision: Precision,
    x: Tensor<D>,
    weight: Tensor<D>,
    product: impl FnOnce(Tensor<D>, Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    match low_dtype(precision) {
        Some(low) if precision == Precision::F16 || is_gpu(&x.device()) => {
            let before = FloatDType::from(x.dtype());
            product(x.cast(low), weight.cast(low)).cast(before)
        }
        _ => product(x, weight),
    }
}

/// Returns activations in 32 bits, where layers with activations in bfloat16 end.
pub fn in_32_bits<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.dtype() == DType::BF16 { x.cast(FloatDType::F32) } else { x }
}
