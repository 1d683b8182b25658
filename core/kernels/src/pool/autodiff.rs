//! Max pooling in an autodiff graph.

use burn::backend::{
    Autodiff, AutodiffBackend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
    tensor::FloatTensor,
};

use super::{PoolBackend, PoolBackward};
use crate::autodiff::record;

/// The backward step of [`PoolBackend::max_pool`]; keeps its input.
#[derive(Debug)]
struct PoolStep;

impl<B: PoolBackward> Backward<B, 1> for PoolStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::max_pool_backward(ops.state, gradient));
        }
    }
}

impl<B: PoolBackward, C: CheckpointStrategy> PoolBackend for Autodiff<B, C> {
    fn max_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = x.node();
        let x = Self::inner(x);
        let output = B::max_pool(x.clone());
        record::<B, C, _, _>(PoolStep, [node], x, output)
    }
}
