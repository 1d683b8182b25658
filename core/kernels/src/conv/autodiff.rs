//! The convolution in a graph.

use burn::backend::{
    Autodiff, AutodiffBackend, Backend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::FloatTensor,
};

use super::ConvBackend;

/// The graph's step.
#[derive(Debug)]
struct ConvStep;

/// What the backward pass needs of the forward.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    stride: usize,
}

impl<B: ConvBackend> Backward<B, 2> for ConvStep {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Saved { x, weight, stride } = ops.state;
        let [x_parent, weight_parent] = ops.parents;
        match (x_parent, weight_parent) {
            (Some(x_parent), Some(weight_parent)) => {
                let (of_input, of_weight) = B::conv_gradients(x, weight, gradient, stride);
                grads.register::<B>(x_parent.id, of_input);
                grads.register::<B>(weight_parent.id, of_weight);
            }
            (Some(parent), None) => {
                grads.register::<B>(parent.id, B::conv_input_gradient(x, weight, gradient, stride));
            }
            // The image itself asks for no gradient, which the stem then need not compute.
            (None, Some(parent)) => {
                grads.register::<B>(parent.id, B::conv_weight_gradient(x, weight, gradient, stride));
            }
            (None, None) => {}
        }
    }
}

impl<B: ConvBackend, C: CheckpointStrategy> ConvBackend for Autodiff<B, C> {
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize) -> FloatTensor<Self> {
        let output = B::conv(Self::inner(x.clone()), Self::inner(weight.clone()), stride);
        Self::conv_known(x, weight, Self::from_inner(output), stride)
    }

    fn conv_known(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        output: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        let step = ConvStep.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful();
        let [x, weight, output] = [x, weight, output].map(Self::inner);
        match step {
            OpsKind::Tracked(step) => step.finish(Saved { x, weight, stride }, output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }
}
