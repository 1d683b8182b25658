//! Recording of operations in Burn's autodiff graph.

use burn::backend::{
    Autodiff, Backend,
    autodiff::{
        checkpoint::strategy::CheckpointStrategy,
        ops::{Backward, NodeGuard, OpsKind},
    },
    tensor::FloatTensor,
};

/// Returns `output` as the result of an operation on `inputs`. If any of these is tracked, `state` is kept for the
/// backward `step`.
pub fn record<B: Backend, C: CheckpointStrategy, S: Backward<B, N>, const N: usize>(
    step: S,
    inputs: [NodeGuard; N],
    state: S::State,
    output: FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    match step.prepare::<C>(inputs).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(state, output),
        OpsKind::UnTracked(step) => step.finish(output),
    }
}
