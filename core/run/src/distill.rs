//! Online distillation losses (paper section 3.3).

use serde::{Deserialize, Serialize};

/// The kinds of distillation loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Distillation {
    /// No distillation: every width learns by itself
    None,
    /// Soft cross-entropy on the similarity logits (SEED): the paper's choice
    Seed,
    /// Soft cross-entropy on the normalised embeddings
    Inplace,
    /// Mean squared error on the normalised embeddings
    MseEmbeddings,
    /// Mean squared error on the similarity logits
    MseLogits,
    /// Decoupled knowledge distillation (Zhao et al. 2022): alpha 1, beta 0.5, temperature 1
    Dkd,
    /// KL divergence at temperature 4 between layer-normalised logits, times 2 (ATKD)
    Atkd,
}

/// Temperatures that logits are divided by before they are compared. In online distillation the square of the student's
/// scales the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperatures {
    /// The teacher's.
    pub teacher: f64,
    /// The student's.
    pub student: f64,
}
