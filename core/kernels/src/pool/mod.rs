//! The max pooling of a ResNet's stem.
//!
//! Burn's on the CPU visits every pixel of every window and stores the indices of the maxima; here the backward pass
//! finds them again.

mod autodiff;
mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
mod plain;
#[cfg(test)]
mod tests;

use burn::{
    backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor},
    tensor::{Tensor, module::max_pool2d, ops::MaxPoolOptions},
};

/// Computes 3x3 max pooling of stride 2, padded by 1: `[batch, channels, height, width]` to half the height and width,
/// rounded up.
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::max_pool(x.into_dispatch()))
}

/// Computes [`max_pool`] with Burn's own operation.
pub fn max_pool_plain(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
}

/// The pooling as an operation of a back end; by default its own.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait PoolBackend: Backend {
    /// See [`max_pool`].
    fn max_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::max_pool::<Self>(x)
    }
}

/// The backward pass of [`PoolBackend::max_pool`]; by default in the back end's own operations.
pub trait PoolBackward: PoolBackend {
    /// Returns the gradient of `x`, given that of the output.
    fn max_pool_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::max_pool_backward::<Self>(x, gradient)
    }
}
