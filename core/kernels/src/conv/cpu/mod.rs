//! Convolution on the CPU, forward and backward, by vectors of pixels in f32.
//!
//! It is direct, not im2col: each image is copied once into a zero-padded canvas, in which the inputs of one kernel tap
//! for consecutive output pixels are contiguous. A stencil then sums over the taps for four channels and six vectors
//! of pixels at a time, which stay in registers; any number of channels works. The weight's gradient consists of dot
//! products over the same canvas. The order of sums does not depend on the number of threads, so runs are reproducible.
//!
//! Activations in bfloat16 are multiplied tile by tile, if there are enough of them and the processor can; otherwise
//! they are widened on the way to the canvas, and outputs are rounded.

#[cfg(target_arch = "x86_64")]
mod bf16;
mod canvas;
mod copy;
mod forward;
mod geometry;
mod input_gradient;
mod stencil;
mod sweep;
mod vectors;
mod weight_gradient;

use burn::backend::{Flex, tensor::FloatTensor};
#[cfg(target_arch = "x86_64")]
use burn::tensor::DType;

#[cfg(target_arch = "x86_64")]
use self::bf16::Unit;
use self::{forward::forward, input_gradient::input_gradient, weight_gradient::weight_gradient};
use super::{ConvBackend, ConvBackward, plain, types::ConvInput};
use crate::{
    cpu::{by_type, is_f32},
    threads::join,
};

/// Values of a weight from which on tiles are faster than vectors: with fewer, most of the time goes into the layout.
#[cfg(target_arch = "x86_64")]
const LARGE: usize = 512;

/// How a convolution is computed.
enum Form {
    /// By Burn.
    Plain,
    /// By vectors, in f32.
    Vectors,
    /// By tiles, in bfloat16.
    #[cfg(target_arch = "x86_64")]
    Tiles(Unit),
}

impl Form {
    fn of(input: &ConvInput<Flex>) -> Self {
        if !is_f32(&input.weight) {
            return Self::Plain;
        }
        #[cfg(target_arch = "x86_64")]
        if input.x.dtype() == DType::BF16 {
            let [x, weight] = [&input.x, &input.weight].map(|tensor| tensor.layout().shape());
            // Groups have too few channels for tiles: most have one.
            let pays = x[1] == weight[1] && weight.num_elements() >= LARGE;
            return Unit::get().filter(|_| pays).map_or(Self::Vectors, Self::Tiles);
        }
        Self::Vectors
    }
}

/// See [`has_bf16`](super::has_bf16).
pub fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return Unit::get().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// See [`has_matrix_unit`](super::has_matrix_unit).
pub fn has_matrix_unit() -> bool {
    #[cfg(target_arch = "x86_64")]
    return Unit::matrix().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl ConvBackend for Flex {
    fn conv(input: ConvInput<Self>) -> FloatTensor<Self> {
        match Form::of(&input) {
            Form::Plain => plain::conv(input),
            Form::Vectors => by_type!(input.x.dtype(), T => forward::<T>(&input), else plain::conv(input)),
            #[cfg(target_arch = "x86_64")]
            Form::Tiles(unit) => bf16::forward(unit, &input),
        }
    }

    fn conv_known(_input: ConvInput<Self>, output: FloatTensor<Self>) -> FloatTensor<Self> {
        // Made contiguous once, for the norm that follows and its backward pass.
        output.to_contiguous()
    }
}

impl ConvBackward for Flex {
    fn conv_input_gradient(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        match Form::of(&input) {
            Form::Plain => plain::input_gradient(input, gradient),
            Form::Vectors => by_type!(
                input.x.dtype(),
                T => input_gradient::<T>(&input, &gradient),
                else plain::input_gradient(input, gradient)
            ),
            #[cfg(target_arch = "x86_64")]
            Form::Tiles(unit) => bf16::input_gradient(unit, &input, &gradient),
        }
    }

    fn conv_weight_gradient(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        match Form::of(&input) {
            Form::Plain => plain::weight_gradient(input, gradient),
            Form::Vectors => by_type!(
                input.x.dtype(),
                T => weight_gradient::<T>(&input, &gradient),
                else plain::weight_gradient(input, gradient)
            ),
            #[cfg(target_arch = "x86_64")]
            Form::Tiles(unit) => bf16::weight_gradient(unit, &input, &gradient),
        }
    }

    fn conv_gradients(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        // In parallel: cores that finish one early work on the other.
        join(
            || Self::conv_input_gradient(input.clone(), gradient.clone()),
            || Self::conv_weight_gradient(input.clone(), gradient.clone()),
        )
    }
}
