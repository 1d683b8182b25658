//! The max pooling of a ResNet's stem.
//!
//! Burn's on the CPU looks at each pixel of each window on its own, and keeps where the largest were; here they are looked
//! for again.

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

/// 3x3 max pooling of stride 2, padded by 1: of `[batch, channels, height, width]` to half the height and width, rounded
/// up.
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::max_pool(x.into_dispatch()))
}

/// The plain form of [`max_pool`], of Burn's own operation.
pub fn max_pool_plain(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
}

/// The pooling and its gradient as operations of a back end; by default of its own.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait PoolBackend: Backend {
    /// See [`max_pool`].
    fn max_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::max_pool::<Self>(x)
    }

    /// Gradient of the input.
    fn max_pool_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::backward::<Self>(x, gradient)
    }
}
