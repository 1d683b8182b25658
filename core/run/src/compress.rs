//! Options of CompRess.

use serde::{Deserialize, Serialize};

/// What CompRess compares the student with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum CompressMemory {
    /// A memory of the student, filled by its momentum copy: the paper's "2q"
    Momentum,
    /// A memory of the student, filled by the student itself
    TwoQueues,
    /// The teacher's memory, so the student's embeddings have the teacher's size: the paper's "1q"
    OneQueue,
}
