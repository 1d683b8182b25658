//! Reference implementations in the back end's own operations; also used for large products on GPUs and for dtypes
//! without a fused kernel.

use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::{Shape, ops::ConvOptions},
};

use super::types::ConvInput;

pub fn conv<B: Backend>(input: ConvInput<B>) -> FloatTensor<B> {
    let ConvInput { x, weight, stride } = input;
    let options = options(x.shape(), weight.shape(), stride);
    B::conv2d(x, weight, None, options)
}

pub fn input_gradient<B: Backend>(input: ConvInput<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    let ConvInput { x, weight, stride } = input;
    let options = options(x.shape(), weight.shape(), stride);
    B::conv2d_x_backward(x, weight, gradient, options)
}

pub fn weight_gradient<B: Backend>(input: ConvInput<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    let ConvInput { x, weight, stride } = input;
    let options = options(x.shape(), weight.shape(), stride);
    B::conv2d_weight_backward(x, weight, gradient, options)
}

/// Returns Burn's options for the convolution of these shapes.
pub fn options(x: Shape, weight: Shape, stride: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [weight[2] / 2; 2], [1, 1], x[1] / weight[1])
}
