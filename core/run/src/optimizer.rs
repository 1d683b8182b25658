//! The optimisers.

use serde::{Deserialize, Serialize};

/// The optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum
    Sgd,
    /// LARS: SGD with a learning rate per tensor, in proportion to its norm; for large batches
    Lars,
}
