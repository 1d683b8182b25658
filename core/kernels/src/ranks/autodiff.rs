//! The gathering of rows in an autodiff graph.

use std::sync::Arc;

use burn::backend::{
    Autodiff, AutodiffBackend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
    tensor::FloatTensor,
};

use super::{Collectives, RanksBackend, RanksBackward};
use crate::autodiff::record;

/// The backward step of [`RanksBackend::gather_rows`].
#[derive(Debug)]
struct GatherStep;

impl<B: RanksBackward> Backward<B, 1> for GatherStep {
    type State = Arc<dyn Collectives>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::gather_rows_backward(gradient, &*ops.state));
        }
    }
}

impl<B: RanksBackward, C: CheckpointStrategy> RanksBackend for Autodiff<B, C> {
    fn gather_rows(rows: FloatTensor<Self>, engine: Arc<dyn Collectives>) -> FloatTensor<Self> {
        let node = rows.node();
        let output = B::gather_rows(Self::inner(rows), engine.clone());
        record::<B, C, _, _>(GatherStep, [node], engine, output)
    }
}
