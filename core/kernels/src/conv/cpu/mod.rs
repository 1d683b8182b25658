//! Convolution on the CPU, for f32, forward and backward, by vectors of pixels.
//!
//! It is direct, not im2col: each image is copied once into a zero-padded canvas, in which the inputs of one kernel tap
//! for consecutive output pixels are contiguous. A stencil then sums over the taps for four channels and six vectors
//! of pixels at a time, which stay in registers; any number of channels works. The weight's gradient consists of dot
//! products over the same canvas. The order of sums does not depend on the number of threads, so runs are reproducible.

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

use self::{forward::forward, input_gradient::input_gradient, weight_gradient::weight_gradient};
use super::{ConvBackend, ConvBackward, plain, types::ConvInput};
use crate::{cpu::is_f32, threads::join};

impl ConvBackend for Flex {
    fn conv(input: ConvInput<Self>) -> FloatTensor<Self> {
        if is_f32(&input.x) { forward(&input) } else { plain::conv(input) }
    }

    fn conv_known(_input: ConvInput<Self>, output: FloatTensor<Self>) -> FloatTensor<Self> {
        // Made contiguous once, for the norm that follows and its backward pass.
        output.to_contiguous()
    }
}

impl ConvBackward for Flex {
    fn conv_input_gradient(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        if is_f32(&input.x) { input_gradient(&input, &gradient) } else { plain::input_gradient(input, gradient) }
    }

    fn conv_weight_gradient(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        if is_f32(&input.x) { weight_gradient(&input, &gradient) } else { plain::weight_gradient(input, gradient) }
    }

    fn conv_gradients(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        // In parallel: cores that finish one early work on the other.
        join(
            || Self::conv_input_gradient(input.clone(), gradient.clone()),
            || Self::conv_weight_gradient(input.clone(), gradient.clone()),
        )
    }
}
