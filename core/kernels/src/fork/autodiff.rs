//! The fork in an autodiff graph.

use std::sync::{Arc, Mutex};

use burn::backend::{
    Autodiff, AutodiffBackend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
    tensor::FloatTensor,
};

use super::{Fork, ForkBackend, ForkBackward};
use crate::autodiff::record;

/// The backward step of either way. The first of both to run leaves its gradient to the other.
#[derive(Debug)]
struct ForkStep;

/// The gradient that waits for the other.
type Waiting<B> = Arc<Mutex<Option<FloatTensor<B>>>>;

impl<B: ForkBackward> Backward<B, 1> for ForkStep {
    type State = Waiting<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [Some(parent)] = ops.parents else { return };
        let mut waiting = ops.state.lock().expect("no backward step panics while it holds a gradient");
        match waiting.take() {
            None => *waiting = Some(gradient),
            Some(other) => grads.register::<B>(parent.id, B::fork_backward(gradient, other)),
        }
    }
}

fn way<B: ForkBackward, C: CheckpointStrategy>(
    x: &FloatTensor<Autodiff<B, C>>,
    waiting: Waiting<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let value = <Autodiff<B, C> as AutodiffBackend>::inner(x.clone());
    record::<B, C, _, _>(ForkStep, [x.node()], waiting, value)
}

impl<B: ForkBackward, C: CheckpointStrategy> ForkBackend for Autodiff<B, C> {
    fn fork(x: FloatTensor<Self>) -> Fork<Self> {
        let waiting = Waiting::<B>::default();
        Fork { first: way::<B, C>(&x, waiting.clone()), second: way::<B, C>(&x, waiting) }
    }
}
