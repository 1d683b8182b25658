//! The pooling in a graph.

use burn::backend::{
    Autodiff, AutodiffBackend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::FloatTensor,
};

use super::PoolBackend;

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
