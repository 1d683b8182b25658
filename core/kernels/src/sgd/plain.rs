//! Reference implementations in the back end's own operations; also used for dtypes without a fused kernel.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use slimclr_network::layout::ALIGNMENT;

use super::types::SgdInput;

pub fn sgd_step<B: Backend>(input: SgdInput<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let SgdInput { values, velocities, gradient, decay, momentum, rate } = input;
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
