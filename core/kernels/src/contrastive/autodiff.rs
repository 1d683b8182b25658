//! Contrastive operations in a graph.

use burn::backend::{
    Autodiff, AutodiffBackend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::{FloatTensor, IntTensor},
};

use super::ContrastBackend;

/// The graph's step of [`ContrastBackend::normalize`].
#[derive(Debug)]
struct NormalizeStep;

impl<B: ContrastBackend> Backward<B, 1> for NormalizeStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = B::normalize_backward(ops.state, grads.consume::<B>(&ops.node));
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, gradient);
        }
    }
}

/// The graph's step of [`ContrastBackend::moco_logits`]; keeps the keys and the queue.
#[derive(Debug)]
struct AgainstQueueStep;

impl<B: ContrastBackend> Backward<B, 1> for AgainstQueueStep {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (keys, queue) = ops.state;
        let gradient = B::against_queue_backward(keys, queue, grads.consume::<B>(&ops.node));
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, gradient);
        }
    }
}

/// The graph's step of a cross-entropy; keeps the gradient of the logits.
#[derive(Debug)]
struct CrossEntropyStep;

impl<B: ContrastBackend> Backward<B, 1> for CrossEntropyStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let of_loss = B::float_reshape(grads.consume::<B>(&ops.node), [1, 1].into());
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::float_mul(ops.state, of_loss));
        }
    }
}

impl<B: ContrastBackend, C: CheckpointStrategy> ContrastBackend for Autodiff<B, C> {
    fn normalize(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let step = NormalizeStep.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = Self::inner(x);
        let output = B::normalize(x.clone());
        match step {
            OpsKind::Tracked(step) => step.finish(x, output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }

    fn normalize_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("the gradient of the gradient is never asked for")
    }

    fn moco_logits(queries: FloatTensor<Self>, keys: FloatTensor<Self>, queue: FloatTensor<Self>) -> FloatTensor<Self> {
        let step = AgainstQueueStep.prepare::<C>([queries.node()]).compute_bound().stateful();
        let [queries, keys, queue] = [queries, keys, queue].map(Self::inner);
        let output = B::moco_logits(queries, keys.clone(), queue.clone());
        match step {
            OpsKind::Tracked(step) => step.finish((keys, queue), output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }

    fn against_queue_backward(_: FloatTensor<Self>, _: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("the gradient of the gradient is never asked for")
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let step = CrossEntropyStep.prepare::<C>([logits.node()]).compute_bound().stateful();
        let (loss, gradient) = B::cross_entropy(Self::inner(logits), targets, temperature);
        let loss = match step {
            OpsKind::Tracked(step) => step.finish(gradient.clone(), loss),
            OpsKind::UnTracked(step) => step.finish(loss),
        };
        (loss, Self::from_inner(gradient))
    }

    fn soft_cross_entropy(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        of_student: f64,
        of_teacher: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let step = CrossEntropyStep.prepare::<C>([student.node()]).compute_bound().stateful();
        let [student, teacher] = [student, teacher].map(Self::inner);
        let (loss, gradient) = B::soft_cross_entropy(student, teacher, of_student, of_teacher);
        let loss = match step {
            OpsKind::Tracked(step) => step.finish(gradient.clone(), loss),
            OpsKind::UnTracked(step) => step.finish(loss),
        };
        (loss, Self::from_inner(gradient))
    }
}
