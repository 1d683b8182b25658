//! Training methods, and the training step that they share.
//!
//! A [`Method`] turns a batch into pretext tasks and computes their losses. The [`Trainer`] does the rest: momentum
//! encoder, queue, slow start, distillation, reweighting, gradient accumulation, the optimiser.

mod batch;
mod keys;
mod methods;
pub mod queue;
pub mod step_options;
pub mod trainer;

use std::fmt::Debug;

use burn::tensor::{Int, Tensor};

pub use self::{
    batch::Batch,
    keys::KeyEncoder,
    methods::{MocoV2, MocoV3, SimClr, Supervised, from_config},
    queue::Queue,
    step_options::StepOptions,
    trainer::{StepOutcome, Trainer},
};
pub use slimclr_run::{method::MethodKind, schedule::StepPlan};

use crate::loss::distill::Output;

/// A training method.
pub trait Method: Debug + Send + Sync {
    /// Returns whether a momentum encoder computes keys.
    fn has_keys(&self) -> bool {
        false
    }

    /// Returns the number of keys in the queue of negatives; 0 for none.
    fn queue_length(&self) -> usize {
        0
    }

    /// Makes the pretext tasks of a batch. The step sums their losses, and every width solves the same tasks.
    fn tasks(&self, batch: Batch, keys: &mut KeyEncoder) -> Vec<PretextTask>;

    /// Computes embeddings and logits of a task from the network's outputs for its views, `[n, d]`.
    fn output(&self, task: &PretextTask, outputs: Tensor<2>) -> Output;

    /// Computes the loss, `[1]`, without distillation. `targets`, `[n]`, are the columns of the positives in the
    /// logits.
    fn loss(&self, output: &Output, targets: &Tensor<1, Int>) -> Tensor<1>;
}

/// Views and their targets.
#[derive(Debug, Clone)]
pub struct PretextTask {
    /// One or two batches of views, `[n, 3, height, width]` each. They pass through the network one after the other, so
    /// that batch norm sees each separately.
    pub views: Vec<Tensor<4>>,
    /// The columns of the positives in the logits, `[n]`, or `[2 n]` if there are two views.
    pub targets: Tensor<1, Int>,
    /// The views' keys, `[n, d]`, if the method has a momentum encoder. They enter the queue, if there is one, after
    /// the step.
    pub keys: Option<Tensor<2>>,
    /// Negatives from earlier batches, `[d, k]`, if the method has a queue.
    pub negatives: Option<Tensor<2>>,
}
