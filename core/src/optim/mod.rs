//! Optimisers and learning-rate schedules.

pub mod loss_scale;
pub mod optimizer;
pub mod schedule;

pub use optimizer::{Optimizer, OptimizerKind};
