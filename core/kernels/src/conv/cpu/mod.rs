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

use super::{ConvBackend, plain};
use crate::{cpu::is_f32, threads};

impl ConvBackend for Flex {
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize) -> FloatTensor<Self> {
        if !is_f32(&x) {
            return plain::conv::<Self>(x, weight, stride);
        }
        forward::forward(&x, &weight, stride)
    }

    fn conv_known(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        output: FloatTensor<Self>,
        _stride: usize,
    ) -> FloatTensor<Self> {
        // Once, for a norm and its backward pass.
        output.to_contiguous()
    }

    fn conv_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        if !is_f32(&x) {
            return plain::input_gradient::<Self>(x, weight, gradient, stride);
        }
        input_gradient::input_gradient(&x, &weight, &gradient, stride)
    }

    fn conv_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        if !is_f32(&x) {
            return plain::weight_gradient::<Self>(x, weight, gradient, stride);
        }
        weight_gradient::weight_gradient(&x, &weight, &gradient, stride)
    }

    fn conv_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        // Together, so that what one leaves idle at its end works for the other.
        let (x, weight, gradient) = (&x, &weight, &gradient);
        threads::join(
            || Self::conv_input_gradient(x.clone(), weight.clone(), gradient.clone(), stride),
            || Self::conv_weight_gradient(x.clone(), weight.clone(), gradient.clone(), stride),
        )
    }
}
