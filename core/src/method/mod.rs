//! Training methods, and the training step that they share.
//!
//! A [`Method`] turns a batch into [`PretextTask`]s, which compute the losses. The [`Trainer`] does the rest: momentum
//! encoder, queue, slow start, distillation, reweighting, gradient accumulation, the optimiser.

mod batch;
pub mod bingo;
pub mod compress;
pub mod disco;
pub mod kd;
mod keys;
mod methods;
pub mod queue;
pub mod seed;
pub mod simdis;
pub mod step_options;
pub mod swav;
pub mod trainer;

use std::fmt::Debug;

use burn::tensor::{Int, Tensor};

pub use self::{
    batch::Batch,
    bingo::BingoTask,
    compress::{CompressMemory, CompressTask, Memory},
    disco::DiscoTask,
    kd::KdTask,
    keys::KeyEncoder,
    methods::{MocoV2, MocoV2Task, MocoV3, MocoV3Task, SimClr, Supervised, from_config},
    queue::Queue,
    seed::SeedTask,
    simdis::{SimdisNetwork, SimdisTask, SimdisView},
    step_options::StepOptions,
    swav::{Sinkhorn, SwavQueue, SwavTask},
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
    fn tasks(&self, batch: Batch, keys: &mut KeyEncoder) -> Vec<Box<dyn PretextTask>>;
}

/// Views, and how a network's outputs for them are judged. It holds whatever its loss needs: keys, negatives, a
/// teacher's outputs.
pub trait PretextTask: Debug + Send + Sync {
    /// Returns batches of views, `[n, 3, height, width]` each. They pass through the network one after the other, so
    /// that batch norm sees each separately.
    fn views(&self) -> &[Tensor<4>];

    /// Computes embeddings and logits from the network's outputs for all views, `[m, d]`.
    fn output(&self, outputs: Tensor<2>) -> Output;

    /// Returns the columns of the positives in the logits, `[m]`.
    fn targets(&self) -> &Tensor<1, Int>;

    /// Computes the loss, `[1]`, without distillation between the widths.
    fn loss(&self, output: &Output) -> Tensor<1>;

    /// Returns the keys, `[n, d]`, that enter the queue after the step, if the method has one.
    fn keys(&self) -> Option<Tensor<2>> {
        None
    }
}
