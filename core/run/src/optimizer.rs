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
    /// LARC, as in SwAV: as LARS, also for norms and biases
    Larc,
    /// LARS as in SimDis: the momentum accumulates updates that are already multiplied by the learning rate
    SimdisLars,
}
