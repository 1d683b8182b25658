//! Operations on all parameters at once: a step of SGD with momentum, and the update of the momentum encoder.

mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
mod plain;
#[cfg(test)]
mod tests;
mod types;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, autodiff::checkpoint::strategy::CheckpointStrategy, backend_extension,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

pub use self::types::SgdInput;

/// Returns values and velocities, `[n]` each, after `v <- momentum v + g + decay p`, `p <- p - rate v`. `decay` has one
/// value for every [`ALIGNMENT`](slimclr_network::layout::ALIGNMENT) values, of which `n` is a multiple. On the CPU,
/// tensors that are not shared are changed in place.
pub fn sgd_step(
    parameters: [Tensor<1>; 2],
    gradient: Tensor<1>,
    decay: Tensor<1>,
    momentum: f64,
    rate: f64,
) -> [Tensor<1>; 2] {
    let [values, velocities] = parameters.map(Tensor::into_dispatch);
    let [gradient, decay] = [gradient, decay].map(Tensor::into_dispatch);
    let (values, velocities) = Dispatch::sgd_step(SgdInput { values, velocities, gradient, decay, momentum, rate });
    [values, velocities].map(Tensor::from_dispatch)
}

/// Returns `keep * values + (1 - keep) * target`, `[n]`. On the CPU, values that are not shared are changed in place.
pub fn ema(values: Tensor<1>, target: Tensor<1>, keep: f64) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::ema(values.into_dispatch(), target.into_dispatch(), keep))
}

/// Both as operations of a back end; by default in its own operations.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait SgdBackend: Backend {
    /// See [`sgd_step`].
    fn sgd_step(#[extension_type] input: SgdInput<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::sgd_step(input)
    }

    /// See [`ema`].
    fn ema(values: FloatTensor<Self>, target: FloatTensor<Self>, keep: f64) -> FloatTensor<Self> {
        plain::ema::<Self>(values, target, keep)
    }
}

impl<B: SgdBackend, C: CheckpointStrategy> SgdBackend for Autodiff<B, C> {}
