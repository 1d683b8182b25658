//! The end of a residual block: a sum and its ReLU, as one operation each way.

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        ops::{ActivationOps, FloatTensorOps},
        tensor::FloatTensor,
    },
    tensor::{Tensor, activation::relu},
};

use super::cpu;

/// `relu(a + b)`, of one shape.
pub fn add_relu(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::add_relu(a.into_dispatch(), b.into_dispatch()))
}

/// The plain form of [`add_relu`], of Burn's own operations.
pub fn add_relu_plain(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    relu(a + b)
}

/// The sum and its gradient as operations of a back end; by default of its own.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait ResidualBackend: Backend {
    /// See [`add_relu`].
    fn add_relu(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu(Self::float_add(a, b))
    }

    /// The gradient of both terms. `output` is the forward's, whose zeros the ReLU made.
    fn add_relu_backward(output: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu_backward(output, gradient)
    }
}

impl ResidualBackend for Flex {
    fn add_relu(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        if cpu::is_f32(&a) { cpu::residual::add_relu(&a, &b) } else { Self::relu(Self::float_add(a, b)) }
    }

    fn add_relu_backward(output: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        if cpu::is_f32(&output) {
            cpu::residual::relu_backward(&output, &gradient)
        } else {
            Self::relu_backward(output, gradient)
        }
    }
}

/// The graph's step.
#[derive(Debug)]
struct AddReluStep;

impl<B: ResidualBackend> Backward<B, 2> for AddReluStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = B::add_relu_backward(ops.state, grads.consume::<B>(&ops.node));
        for parent in ops.parents.into_iter().flatten() {
            grads.register::<B>(parent.id, gradient.clone());
        }
    }
}

impl<B: ResidualBackend, C: CheckpointStrategy> ResidualBackend for Autodiff<B, C> {
    fn add_relu(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let step = AddReluStep.prepare::<C>([a.node(), b.node()]).compute_bound().stateful();
        let output = B::add_relu(Self::inner(a), Self::inner(b));
        match step {
            OpsKind::Tracked(step) => step.finish(output.clone(), output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }

    fn add_relu_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("the gradient of the gradient is never asked for")
    }
}
