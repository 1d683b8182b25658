//! Gradient magnitudes of the widths (paper figure 3).

use serde::{Deserialize, Serialize};

/// Gradient norms of one step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GradientNorms {
    /// For each width, the l2 norm of the gradient's slice that it uses, averaged over the
    /// convolution and linear weights.
    pub norms: Vec<f64>,
    /// theta_{1.0 \ min}: `sqrt(|g_1.0|^2 - |g_min|^2)`, the part of the full network's that is not the narrowest's.
    pub rest: f64,
}
