//! The operations of a back end's own operations: for large products on GPUs, and for precisions without a fused form.

use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::{Shape, ops::ConvOptions},
};

pub fn conv<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, stride: usize) -> FloatTensor<B> {
    let options = options(x.shape(), weight.shape(), stride);
    B::conv2d(x, weight, None, options)
}

pub fn input_gradient<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    stride: usize,
) -> FloatTensor<B> {
    let options = options(x.shape(), weight.shape(), stride);
    B::conv2d_x_backward(x, weight, gradient, options)
}

pub fn weight_gradient<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    stride: usize,
) -> FloatTensor<B> {
    let options = options(x.shape(), weight.shape(), stride);
    B::conv2d_weight_backward(x, weight, gradient, options)
}

/// Burn's name for the same convolution.
pub fn options(x: Shape, weight: Shape, stride: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [weight[2] / 2; 2], [1, 1], x[1] / weight[1])
}
