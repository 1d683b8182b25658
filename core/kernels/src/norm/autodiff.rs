//! The norm in an autodiff graph.

use burn::backend::{
    Autodiff, AutodiffBackend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
};

use super::{
    NormBackend, NormBackward,
    types::{Moments, NormGradients, NormInput, NormOutput, NormSaved, Shortcut},
};
use crate::autodiff::record;

/// The backward step of [`NormBackend::norm`], whose inputs are `x`, gamma, beta and, if there is one, the shortcut.
#[derive(Debug)]
struct NormStep;

impl<B: NormBackward, const N: usize> Backward<B, N> for NormStep {
    type State = NormSaved<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let NormGradients { x, gamma, beta, shortcut } = B::norm_backward(ops.state, gradient);
        for (parent, gradient) in ops.parents.into_iter().zip([x, gamma, beta].into_iter().chain(shortcut)) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: NormBackward, C: CheckpointStrategy> NormBackend for Autodiff<B, C> {
    fn norm(input: NormInput<Self>, epsilon: f64) -> NormOutput<Self> {
        let NormInput { x, gamma, beta, relu, shortcut } = input;
        let nodes = [x.node(), gamma.node(), beta.node()];
        let [x, gamma, beta] = [x, gamma, beta].map(Self::inner);
        let (shortcut, shortcut_node) = match shortcut {
            Shortcut::None => (Shortcut::None, None),
            Shortcut::AddRelu(shortcut) => {
                let node = shortcut.node();
                (Shortcut::AddRelu(Self::inner(shortcut)), Some(node))
            }
        };
        let input = NormInput { x: x.clone(), gamma: gamma.clone(), beta: beta.clone(), relu, shortcut };
        let NormOutput { output, moments } = B::norm(input, epsilon);
        let (mean, variance) = (moments.mean.clone(), moments.variance.clone());
        let mut saved = NormSaved { x, gamma, beta, relu, moments, epsilon, output: None };
        let output = match shortcut_node {
            None => record::<B, C, _, _>(NormStep, nodes, saved, output),
            Some(shortcut) => {
                let [x, gamma, beta] = nodes;
                saved.output = Some(output.clone());
                record::<B, C, _, _>(NormStep, [x, gamma, beta, shortcut], saved, output)
            }
        };
        let moments = Moments { mean: Self::from_inner(mean), variance: Self::from_inner(variance) };
        NormOutput { output, moments }
    }
}
