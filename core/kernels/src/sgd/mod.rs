//! What moves all parameters at once: a step of gradient descent with momentum, and the momentum encoder's after it.

mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
mod plain;
#[cfg(test)]
mod tests;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, autodiff::checkpoint::strategy::CheckpointStrategy, backend_extension,
        tensor::FloatTensor,
    },
    tensor::Tensor,
};

/// Values and velocities, `[n]` each, after `v <- momentum v + g + decay p`, `p <- p - rate v`. Each [`ALIGNMENT`](slimclr_network::layout::ALIGNMENT) values,
/// of which `n` is a multiple, have a `decay` of their own. On the CPU, what nothing else holds is changed in place.
pub fn sgd_step(
    [values, velocities]: [Tensor<1>; 2],
    gradient: Tensor<1>,
    decay: Tensor<1>,
    momentum: f64,
    rate: f64,
) -> [Tensor<1>; 2] {
    let [values, velocities] = [values, velocities].map(Tensor::into_dispatch);
    let [gradient, decay] = [gradient, decay].map(Tensor::into_dispatch);
    let (values, velocities) = Dispatch::sgd_step(values, velocities, gradient, decay, momentum, rate);
    [values, velocities].map(Tensor::from_dispatch)
}

/// `keep * values + (1 - keep) * target`, `[n]`.
pub fn ema(values: Tensor<1>, target: Tensor<1>, keep: f64) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::ema(values.into_dispatch(), target.into_dispatch(), keep))
}

/// Both as operations of a back end; by default of its own operations.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait SgdBackend: Backend {
    /// See [`sgd_step`].
    fn sgd_step(
        values: FloatTensor<Self>,
        velocities: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        decay: FloatTensor<Self>,
        momentum: f64,
        rate: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::sgd_step::<Self>(values, velocities, gradient, decay, momentum, rate)
    }

    /// See [`ema`].
    fn ema(values: FloatTensor<Self>, target: FloatTensor<Self>, keep: f64) -> FloatTensor<Self> {
        plain::ema::<Self>(values, target, keep)
    }
}

impl<B: SgdBackend, C: CheckpointStrategy> SgdBackend for Autodiff<B, C> {}
