//! The norm in a graph.

use burn::backend::{
    Autodiff, AutodiffBackend, Backend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::FloatTensor,
};

use super::{
    NormBackend,
    types::{Forward, Gradient},
};

/// What the backward pass needs of the forward.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    mean: FloatTensor<B>,
    variance: FloatTensor<B>,
    epsilon: f64,
    relu: bool,
}

/// The graph's step of [`NormBackend::norm`].
#[derive(Debug)]
struct NormStep;

impl<B: NormBackend> Backward<B, 3> for NormStep {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Saved { x, gamma, beta, mean, variance, epsilon, relu } = ops.state;
        let (x, gamma, beta) = B::norm_backward(x, gamma, beta, mean, variance, gradient, epsilon, relu);
        for (parent, gradient) in ops.parents.into_iter().zip([x, gamma, beta]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// The graph's step of [`NormBackend::norm_add_relu`], which needs the output, too.
#[derive(Debug)]
struct NormAddReluStep;

impl<B: NormBackend> Backward<B, 4> for NormAddReluStep {
    type State = (Saved<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (Saved { x, gamma, beta, mean, variance, epsilon, relu }, output) = ops.state;
        let (x, gamma, beta, shortcut) =
            B::norm_add_relu_backward(x, output, gamma, beta, mean, variance, gradient, epsilon, relu);
        for (parent, gradient) in ops.parents.into_iter().zip([x, gamma, beta, shortcut]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: NormBackend, C: CheckpointStrategy> NormBackend for Autodiff<B, C> {
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Self> {
        let step = NormStep.prepare::<C>([x.node(), gamma.node(), beta.node()]).compute_bound().stateful();
        let [x, gamma, beta] = [x, gamma, beta].map(Self::inner);
        let (output, mean, variance) = B::norm(x.clone(), gamma.clone(), beta.clone(), epsilon, relu);
        let statistics = [mean.clone(), variance.clone()].map(Self::from_inner);
        let saved = Saved { x, gamma, beta, mean, variance, epsilon, relu };
        let output = match step {
            OpsKind::Tracked(step) => step.finish(saved, output),
            OpsKind::UnTracked(step) => step.finish(output),
        };
        let [mean, variance] = statistics;
        (output, mean, variance)
    }

    fn norm_add_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Self> {
        let parents = [x.node(), gamma.node(), beta.node(), shortcut.node()];
        let step = NormAddReluStep.prepare::<C>(parents).compute_bound().stateful();
        let [x, gamma, beta, shortcut] = [x, gamma, beta, shortcut].map(Self::inner);
        let (output, mean, variance) =
            B::norm_add_relu(x.clone(), gamma.clone(), beta.clone(), shortcut, epsilon, relu);
        let statistics = [mean.clone(), variance.clone()].map(Self::from_inner);
        let saved = Saved { x, gamma, beta, mean, variance, epsilon, relu };
        let output = match step {
            OpsKind::Tracked(step) => step.finish((saved, output.clone()), output),
            OpsKind::UnTracked(step) => step.finish(output),
        };
        let [mean, variance] = statistics;
        (output, mean, variance)
    }

    fn norm_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f64,
        _: bool,
    ) -> Gradient<Self> {
        unreachable!("the gradient of the gradient is never asked for")
    }

    fn norm_add_relu_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f64,
        _: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the gradient of the gradient is never asked for")
    }
}
