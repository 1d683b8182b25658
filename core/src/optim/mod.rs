//! Optimisers.

pub mod loss_scale;
pub mod optimizer;
mod trust;

pub use optimizer::{Optimizer, OptimizerKind};
