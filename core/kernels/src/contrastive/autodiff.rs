//! Contrastive logits and cross-entropies in an autodiff graph.

use burn::backend::{
    Autodiff, AutodiffBackend, Backend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
    tensor::{FloatTensor, IntTensor},
};

use super::{ContrastiveBackend, ContrastiveBackward};
use crate::autodiff::record;

/// The backward step of [`ContrastiveBackend::normalize`]; keeps its input.
#[derive(Debug)]
struct NormalizeStep;

impl<B: ContrastiveBackward> Backward<B, 1> for NormalizeStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::normalize_backward(ops.state, gradient));
        }
    }
}

/// The backward step of [`ContrastiveBackend::moco_logits`]; keeps the keys and the queue.
#[derive(Debug)]
struct MocoLogitsStep;

impl<B: ContrastiveBackward> Backward<B, 1> for MocoLogitsStep {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (keys, queue) = ops.state;
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::moco_logits_backward(keys, queue, gradient));
        }
    }
}

/// The backward step of a cross-entropy; keeps the gradient of the logits.
#[derive(Debug)]
struct CrossEntropyStep;

impl<B: Backend> Backward<B, 1> for CrossEntropyStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let loss_gradient = B::float_reshape(grads.consume::<B>(&ops.node), [1, 1].into());
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::float_mul(ops.state, loss_gradient));
        }
    }
}

impl<B: ContrastiveBackward, C: CheckpointStrategy> ContrastiveBackend for Autodiff<B, C> {
    fn normalize(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = x.node();
        let x = Self::inner(x);
        let output = B::normalize(x.clone());
        record::<B, C, _, _>(NormalizeStep, [node], x, output)
    }

    fn moco_logits(queries: FloatTensor<Self>, keys: FloatTensor<Self>, queue: FloatTensor<Self>) -> FloatTensor<Self> {
        let node = queries.node();
        let [queries, keys, queue] = [queries, keys, queue].map(Self::inner);
        let output = B::moco_logits(queries, keys.clone(), queue.clone());
        record::<B, C, _, _>(MocoLogitsStep, [node], (keys, queue), output)
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let node = logits.node();
        let (loss, gradient, ranks) = B::cross_entropy(Self::inner(logits), targets, temperature);
        let loss = record::<B, C, _, _>(CrossEntropyStep, [node], gradient.clone(), loss);
        (loss, Self::from_inner(gradient), Self::from_inner(ranks))
    }

    fn soft_cross_entropy(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        temperatures: [f64; 2],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let node = student.node();
        let [student, teacher] = [student, teacher].map(Self::inner);
        let (loss, gradient, divergences) = B::soft_cross_entropy(student, teacher, temperatures);
        let loss = record::<B, C, _, _>(CrossEntropyStep, [node], gradient.clone(), loss);
        (loss, Self::from_inner(gradient), Self::from_inner(divergences))
    }
}
