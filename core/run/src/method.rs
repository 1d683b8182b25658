//! The methods that a run can train with.

use serde::{Deserialize, Serialize};
use slimclr_network::head::HeadKind;

/// A training method. Each is slimmable, or plain with the single width 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// MoCo v2: contrasts a view with its momentum-encoder key, against a queue of negatives
    #[cfg_attr(feature = "clap", value(name = "mocov2"))]
    Mocov2,
    /// MoCo v3: contrasts each view with the other view's momentum-encoder key, against the keys of the batch
    #[cfg_attr(feature = "clap", value(name = "mocov3"))]
    Mocov3,
    /// SimCLR: contrasts the two views of an image, against all other views of the batch, without a momentum encoder
    #[cfg_attr(feature = "clap", value(name = "simclr"))]
    Simclr,
    /// Supervised: classifies with labels, as the slimmable network that the paper compares with
    Supervised,
}

impl MethodKind {
    /// Returns the head that it trains.
    pub fn head(self) -> HeadKind {
        match self {
            Self::Mocov2 => HeadKind::Mocov2,
            Self::Mocov3 => HeadKind::Mocov3,
            Self::Simclr => HeadKind::Simclr,
            Self::Supervised => HeadKind::Supervised,
        }
    }
}
