//! The convolution in an autodiff graph.

use burn::backend::{
    Autodiff, AutodiffBackend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
    tensor::FloatTensor,
};

use super::{ConvBackend, ConvBackward, types::ConvInput};
use crate::autodiff::record;

/// The backward step of [`ConvBackend::conv`], whose inputs are `x` and the weight.
#[derive(Debug)]
struct ConvStep;

impl<B: ConvBackward> Backward<B, 2> for ConvStep {
    type State = ConvInput<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [x, weight] = ops.parents;
        match (x, weight) {
            (Some(x), Some(weight)) => {
                let (x_gradient, weight_gradient) = B::conv_gradients(ops.state, gradient);
                grads.register::<B>(x.id, x_gradient);
                grads.register::<B>(weight.id, weight_gradient);
            }
            (Some(x), None) => grads.register::<B>(x.id, B::conv_input_gradient(ops.state, gradient)),
            // The stem: images need no gradient.
            (None, Some(weight)) => grads.register::<B>(weight.id, B::conv_weight_gradient(ops.state, gradient)),
            (None, None) => {}
        }
    }
}

impl<B: ConvBackward, C: CheckpointStrategy> ConvBackend for Autodiff<B, C> {
    fn conv(input: ConvInput<Self>) -> FloatTensor<Self> {
        let ConvInput { x, weight, stride } = input.clone();
        let [x, weight] = [x, weight].map(Self::inner);
        let output = B::conv(ConvInput { x, weight, stride });
        Self::conv_known(input, Self::from_inner(output))
    }

    fn conv_known(input: ConvInput<Self>, output: FloatTensor<Self>) -> FloatTensor<Self> {
        let ConvInput { x, weight, stride } = input;
        let nodes = [x.node(), weight.node()];
        let [x, weight, output] = [x, weight, output].map(Self::inner);
        record::<B, C, _, _>(ConvStep, nodes, ConvInput { x, weight, stride }, output)
    }
}
