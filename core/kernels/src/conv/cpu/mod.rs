//! Convolution on the CPU, for f32, forward and backward, by vectors of pixels.
//!
//! It is direct, not im2col: each image is copied once into a zero-padded canvas, in which the inputs of one kernel tap
//! for consecutive output pixels are contiguous. A stencil then sums over the taps for four channels and six vectors
//! of pixels at a time, which stay in registers; any number of channels works. The weight's gradient consists of dot
//! products over the same canvas. The order of sums does not depend on the number of threads, so runs are reproducible.
//!
//! Where factors may be rounded to bfloat16, large convolutions are computed tile by tile, if the processor can.

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
use self::bf16::Unit;
use self::{forward::forward, input_gradient::input_gradient, weight_gradient::weight_gradient};
#[cfg(target_arch = "x86_64")]
use super::types::Factors;
use super::{ConvBackend, ConvBackward, plain, types::ConvInput};
use crate::{cpu::is_f32, threads::join};

/// Values of a weight from which on tiles are faster than vectors: with fewer, most of the time goes into the layout.
#[cfg(target_arch = "x86_64")]
const LARGE: usize = 2048;

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
        if !is_f32(&input.x) {
            return Self::Plain;
        }
        #[cfg(target_arch = "x86_64")]
        if input.factors == Factors::Bf16 {
            let [x, weight] = [&input.x, &input.weight].map(|tensor| tensor.layout().shape());
            // Groups have too few channels for tiles: most have one.
            let pays = x[1] == weight[1] && weight.num_elements() >= LARGE;
            if let Some(unit) = Unit::get().filter(|_| pays) {
                return Self::Tiles(unit);
            }
        }
        Self::Vectors
    }
}

impl ConvBackend for Flex {
    fn conv(input: ConvInput<Self>) -> FloatTensor<Self> {
        match Form::of(&input) {
            Form::Plain => plain::conv(input),
            Form::Vectors => forward(&input),
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
            Form::Vectors => input_gradient(&input, &gradient),
            #[cfg(target_arch = "x86_64")]
            Form::Tiles(unit) => bf16::input_gradient(unit, &input, &gradient),
        }
    }

    fn conv_weight_gradient(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        match Form::of(&input) {
            Form::Plain => plain::weight_gradient(input, gradient),
            Form::Vectors => weight_gradient(&input, &gradient),
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
