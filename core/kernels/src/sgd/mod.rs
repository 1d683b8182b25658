//! What moves all parameters at once: a step of gradient descent with momentum, and the momentum encoder's after it.

mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex, TensorMetadata, autodiff::checkpoint::strategy::CheckpointStrategy,
        backend_extension, tensor::FloatTensor,
    },
    tensor::Tensor,
};

use slimclr_network::layout::ALIGNMENT;

use crate::cpu::is_f32;

/// Values and velocities, `[n]` each, after `v <- momentum v + g + decay p`, `p <- p - rate v`. Each [`ALIGNMENT`] values,
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

pub(crate) mod plain {
    //! The operations of a back end's own operations, for precisions without a fused form.

    use super::{ALIGNMENT, Backend, FloatTensor, TensorMetadata};

    pub fn sgd_step<B: Backend>(
        values: FloatTensor<B>,
        velocities: FloatTensor<B>,
        gradient: FloatTensor<B>,
        decay: FloatTensor<B>,
        momentum: f64,
        rate: f64,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let blocks = decay.shape()[0];
        let decay = B::float_expand(B::float_reshape(decay, [blocks, 1].into()), [blocks, ALIGNMENT].into());
        let decay = B::float_reshape(decay, values.shape());
        let update = B::float_add(gradient, B::float_mul(values.clone(), decay));
        let velocities = B::float_add(B::float_mul_scalar(velocities, momentum.into()), update);
        (B::float_sub(values, B::float_mul_scalar(velocities.clone(), rate.into())), velocities)
    }

    pub fn ema<B: Backend>(values: FloatTensor<B>, target: FloatTensor<B>, keep: f64) -> FloatTensor<B> {
        let kept = B::float_mul_scalar(values, keep.into());
        B::float_add(kept, B::float_mul_scalar(target, (1.0 - keep).into()))
    }
}

impl SgdBackend for Flex {
    fn sgd_step(
        values: FloatTensor<Self>,
        velocities: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        decay: FloatTensor<Self>,
        momentum: f64,
        rate: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&values) {
            return plain::sgd_step::<Self>(values, velocities, gradient, decay, momentum, rate);
        }
        cpu::sgd_step([values, velocities], &gradient, &decay, momentum as f32, rate as f32)
    }

    fn ema(values: FloatTensor<Self>, target: FloatTensor<Self>, keep: f64) -> FloatTensor<Self> {
        if !is_f32(&values) {
            return plain::ema::<Self>(values, target, keep);
        }
        cpu::ema(values, &target, keep)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Distribution};

    use super::*;

    #[test]
    fn a_step_is_as_by_its_formulas() {
        for blocks in [1, 1001] {
            let count = blocks * ALIGNMENT;
            let random = |count| Tensor::<1>::random([count], Distribution::Normal(0.0, 1.0), &Device::flex());
            let ([values, velocities, gradient], decay) = ([count; 3].map(random), random(blocks));
            let decay_of_each = decay.clone().unsqueeze_dim::<2>(1).repeat_dim(1, ALIGNMENT).flatten::<1>(0, 1);
            let moved = velocities.clone() * 0.9 + gradient.clone() + values.clone() * decay_of_each;
            let expected =
                [values.clone() - moved.clone() * 0.05, moved, values.clone() * 0.99 + gradient.clone() * 0.01];
            for dtype in [DType::F32, DType::F64] {
                let [values, velocities, gradient, decay] =
                    [&values, &velocities, &gradient, &decay].map(|tensor| tensor.clone().cast(dtype));
                let [moved, velocities] = sgd_step([values.clone(), velocities], gradient.clone(), decay, 0.9, 0.05);
                for (found, expected) in [moved, velocities, ema(values, gradient, 0.99)].into_iter().zip(&expected) {
                    let largest = (found.cast(DType::F32) - expected.clone()).abs().max().into_scalar::<f32>();
                    assert!(largest < 1e-5, "{count}, {dtype:?}: {largest}");
                }
            }
        }
    }
}
