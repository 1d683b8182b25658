//! Convolution on the CPU, forward and backward, by vectors of pixels.
//!
//! No patches are laid out: an image is copied once to a [`Canvas`] with a margin of zeros, where what a tap of the
//! kernel sees of consecutive pixels is consecutive too. A [`Stencil`] then sums over the taps for four channels and
//! six vectors of pixels at a time, which stay in registers; so any number of channels will do. The weight's gradient
//! is a table of dot products over the same canvas. Sums run in one order whatever the number of threads, so a run
//! repeats.

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
        // Once, for a norm and its backward pass.
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
        // In parallel, so that cores that one leaves idle at its end work for the other.
        join(
            || Self::conv_input_gradient(input.clone(), gradient.clone()),
            || Self::conv_weight_gradient(input.clone(), gradient.clone()),
        )
    }
}
