//! An activation that goes two ways, as at the start of a residual block.
//!
//! Burn adds the gradients of both on one core, those in bfloat16 value by value.

mod autodiff;
mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
#[cfg(test)]
mod tests;

use burn::{
    backend::{Backend, Dispatch, ExtensionType, backend_extension, tensor::FloatTensor},
    tensor::Tensor,
};

/// Returns `x` twice. The loss must depend on both: the gradient of `x` is the sum of theirs.
pub fn fork(x: Tensor<4>) -> [Tensor<4>; 2] {
    let Fork { first, second } = Dispatch::fork(x.into_dispatch());
    [first, second].map(Tensor::from_dispatch)
}

/// A tensor, twice.
#[derive(Debug, Clone, ExtensionType)]
pub struct Fork<B: Backend> {
    /// For the one way.
    pub first: FloatTensor<B>,
    /// For the other.
    pub second: FloatTensor<B>,
}

/// The fork as an operation of a back end.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait ForkBackend: Backend {
    /// See [`fork`].
    fn fork(x: FloatTensor<Self>) -> Fork<Self> {
        Fork { first: x.clone(), second: x }
    }
}

/// The backward pass of [`ForkBackend::fork`]; by default the back end's own sum.
pub trait ForkBackward: ForkBackend {
    /// Returns the sum of both gradients.
    fn fork_backward(first: FloatTensor<Self>, second: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_add(first, second)
    }
}
