//! Optimisers.

pub mod loss_scale;
pub mod optimizer;
pub mod stage_rates;
mod trust;

pub use optimizer::{Optimizer, OptimizerKind};
