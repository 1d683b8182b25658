//! Signs that a run learns nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A sign of collapse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "sign", rename_all = "snake_case")]
pub enum Collapse {
    /// The full network's loss has been at chance level for an epoch.
    Loss {
        /// The epoch's mean loss, without its weight.
        loss: f64,
        /// The loss at chance level.
        guess: f64,
        /// Candidates that the method chooses among.
        candidates: usize,
    },
    /// A trained network's features vary along one direction only.
    Rank {
        /// The width.
        width: f64,
        /// RankMe of its features.
        rankme: f64,
    },
    /// A trained network's embeddings of all images are nearest to the same prototype.
    Prototypes {
        /// The width.
        width: f64,
    },
    /// A trained network's embeddings of different images are all alike.
    Cosine {
        /// The width.
        width: f64,
        /// Mean cosine of views of different images.
        cosine: f64,
    },
}

impl fmt::Display for Collapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss { loss, guess, candidates } => write!(
                f,
                "the full network's mean loss over an epoch was {loss:.2}, no better than chance ({guess:.2}, a guess \
                 among {candidates}): it learns nothing"
            )?,
            Self::Rank { width, rankme } => write!(
                f,
                "the features of width {width} have an effective rank (RankMe) of {rankme:.1}: they have collapsed to \
                 one direction"
            )?,
            Self::Prototypes { width } => {
                write!(f, "all images belong to one prototype at width {width}: the prototypes have collapsed")?
            }
            Self::Cosine { width, cosine } => write!(
                f,
                "the embeddings of different images have a mean cosine of {cosine:.3} at width {width}: they have \
                 collapsed to one point"
            )?,
        }
        if let Self::Prototypes { .. } = self {
            return f.write_str(". Try a lower learning_rate, a longer freeze, or a larger batch or queue");
        }
        write!(f, ". Try a lower learning_rate, a longer warmup, slow_start above 0, or a larger batch")
    }
}
