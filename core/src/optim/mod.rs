//! Optimisers.

pub mod loss_scale;
pub mod optimizer;

pub use optimizer::{Optimizer, OptimizerKind};
