//! Training methods, and the training step that they share.
//!
//! A [`Method`] turns a batch into [`PretextTask`]s, which compute the losses. The [`Trainer`] does the rest: momentum
//! encoder, queue, slow start, distillation, reweighting, gradient accumulation, the optimiser.

mod batch;
pub mod bingo;
pub mod compress;
mod context;
pub mod disco;
mod from_config;
pub mod kd;
mod methods;
pub mod queue;
pub mod seed;
pub mod simdis;
mod state;
pub mod step_options;
pub mod swav;
pub mod teacher;
pub mod trainer;

use std::fmt::Debug;

use burn::tensor::{Int, Tensor, TensorData};
use dyn_clone::DynClone;

pub use self::{
    batch::Batch,
    bingo::{Bingo, BingoTask},
    compress::{Compress, CompressTask, Memory},
    context::StepContext,
    disco::{Disco, DiscoTask},
    from_config::from_config,
    kd::{Kd, KdTask},
    methods::{MocoV2, MocoV2Task, MocoV3, MocoV3Task, SimClr, Supervised},
    queue::Queue,
    seed::{Seed, SeedTask},
    simdis::{Simdis, SimdisTask, SimdisTeacher},
    state::StateTensor,
    step_options::StepOptions,
    swav::{Sinkhorn, Swav, SwavQueue, SwavTask},
    teacher::Teacher,
    trainer::{StepOutcome, Trainer},
};
pub use slimclr_run::{method::MethodKind, schedule::StepPlan};

use crate::{
    encoder::Encoder,
    forward::Forward,
    gradient::GradientSum,
    kernel::ranks::Ranks,
    loss::{Loss, distill::Output},
    parameter::Parameters,
};

/// A training method, with what it keeps between steps, such as a teacher or a memory of features.
pub trait Method: DynClone + Debug + Send + Sync {
    /// Returns whether a momentum encoder computes keys.
    fn has_keys(&self) -> bool {
        false
    }

    /// Returns the number of keys in the queue of negatives; 0 for none.
    fn queue_length(&self) -> usize {
        0
    }

    /// Changes the query encoder before the forward passes of a step.
    fn prepare(&self, _query: &mut Parameters) {}

    /// Makes the pretext tasks of a batch. The step sums their losses, and every width solves the same tasks.
    fn tasks(&mut self, batch: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>>;

    /// Changes the sum of the widths' gradients before the optimiser uses it.
    fn adjust(&self, gradients: GradientSum, _plan: StepPlan) -> GradientSum {
        gradients
    }

    /// Updates what the method keeps, with [`PretextTask::memories`] of the whole batch.
    fn remember(&mut self, _memories: Vec<Tensor<2>>) {}

    /// Averages over the ranks the running statistics of the networks that it keeps.
    fn average_statistics(&mut self, _ranks: &Ranks) {}

    /// Returns the tensors that a checkpoint must hold, always with the same names and shapes.
    fn state(&self) -> Vec<StateTensor> {
        Vec::new()
    }

    /// Restores the values of [`state`](Self::state), in its order, after this number of images.
    fn restore(&mut self, _values: Vec<TensorData>, _images: u64) {}
}

dyn_clone::clone_trait_object!(Method);

/// Views, and the loss of a network's outputs for them. It holds whatever its loss needs: keys, negatives, a teacher's
/// outputs.
pub trait PretextTask: Debug + Send + Sync {
    /// Returns batches of views, `[n, 3, height, width]` each.
    fn views(&self) -> &[Tensor<4>];

    /// Computes a network's outputs for all views, `[m, d]`. By default, the views pass through the network one after
    /// the other, so that batch norm sees each separately.
    fn forward(&self, network: &mut Forward, encoder: &Encoder) -> Tensor<2> {
        network.predict_views(encoder, self.views())
    }

    /// Computes embeddings and logits from these outputs.
    fn output(&self, outputs: Tensor<2>) -> Output;

    /// Returns the columns of the positives in the logits, `[m]`, if there is one in each row.
    fn targets(&self) -> Option<&Tensor<1, Int>> {
        None
    }

    /// Computes the loss without distillation between the widths, and what is reported of it.
    fn loss(&self, output: &Output) -> Loss;

    /// Returns the keys, `[n, d]`, that enter the queue after the step, if the method has one.
    fn keys(&self) -> Option<Tensor<2>> {
        None
    }

    /// Returns what the method remembers of this task, a row for each image, given the outputs of the trained widths,
    /// widest first.
    fn memories(&self, _outputs: &[Output]) -> Vec<Tensor<2>> {
        Vec::new()
    }
}
