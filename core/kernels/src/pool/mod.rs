//! The max pooling of a ResNet's stem.
//!
//! Burn's on the CPU looks at each pixel of each window on its own, and keeps where the largest were; here they are looked
//! for again.

mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::{Tensor, module::max_pool2d, ops::MaxPoolOptions},
};

use crate::cpu::is_f32;

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

mod plain {
    use burn::tensor::IntDType;

    use super::{Backend, FloatTensor};

    pub fn max_pool<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        B::max_pool2d(x, [3; 2], [2; 2], [1; 2], [1; 2], false)
    }

    pub fn backward<B: Backend>(x: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
        let [kernel, stride, padding, dilation] = [[3; 2], [2; 2], [1; 2], [1; 2]];
        let places = IntDType::I32;
        let indices = B::max_pool2d_with_indices(x.clone(), kernel, stride, padding, dilation, false, places).indices;
        B::max_pool2d_with_indices_backward(x, kernel, stride, padding, dilation, false, gradient, indices).x_grad
    }
}

impl PoolBackend for Flex {
    fn max_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        if is_f32(&x) { cpu::forward(&x) } else { plain::max_pool::<Self>(x) }
    }

    fn max_pool_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        if is_f32(&x) { cpu::backward(&x, &gradient) } else { plain::backward::<Self>(x, gradient) }
    }
}

/// The graph's step.
#[derive(Debug)]
struct PoolStep;

impl<B: PoolBackend> Backward<B, 1> for PoolStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::max_pool_backward(ops.state, gradient));
        }
    }
}

impl<B: PoolBackend, C: CheckpointStrategy> PoolBackend for Autodiff<B, C> {
    fn max_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let step = PoolStep.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = Self::inner(x);
        let output = B::max_pool(x.clone());
        match step {
            OpsKind::Tracked(step) => step.finish(x, output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }

    fn max_pool_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("the gradient of the gradient is never asked for")
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn the_fused_form_is_the_plain_one_forward_and_backward() {
        for (height, width) in [(1, 1), (2, 3), (7, 8), (33, 40)] {
            let random = |shape: [usize; 4]| Tensor::random(shape, Distribution::Default, &Device::flex());
            // Some values of a window are alike.
            let x = random([2, 3, height, width]).mul_scalar(8.0).floor().sub_scalar(4.0);
            let cotangent = random([2, 3, height.div_ceil(2), width.div_ceil(2)]);
            let run = |form: fn(Tensor<4>) -> Tensor<4>| {
                let x = x.clone().autodiff().require_grad();
                let output = form(x.clone());
                let gradients = (output.clone() * cotangent.clone()).sum().backward();
                [output.without_autodiff(), x.grad(&gradients).expect("the loss reaches the input")]
            };
            for (found, expected) in run(max_pool).into_iter().zip(run(max_pool_plain)) {
                found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Default::default());
            }
        }
    }

    #[test]
    fn a_value_that_is_no_number_shows() {
        let x = Tensor::<4>::from_floats([[[[1.0, f32::NAN, 2.0, 5.0]]]], &Device::flex());
        let pooled: Vec<f32> = max_pool(x).into_data().iter().collect();
        assert!(pooled.iter().all(|value| value.is_nan()), "{pooled:?}");
    }
}
