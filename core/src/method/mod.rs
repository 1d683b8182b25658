//! The methods: what one training step does.

pub mod queue;
pub mod recipe;
pub mod task;
pub mod trainer;

use serde::{Deserialize, Serialize};

use crate::{
    augment::{self, Normalisation},
    head::HeadKind,
};

pub use queue::Queue;
pub use recipe::Recipe;
pub use trainer::{Batch, Plan, StepOutcome, Trainer};

/// What a network is trained for (spec sections 2 and 3). Each of them is slimmable, or plain with the single width
/// 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Telling a view's key, by a momentum encoder, from a queue of earlier keys
    #[cfg_attr(feature = "clap", value(name = "mocov2"))]
    Mocov2,
    /// Telling a view's key from those of the other images in the batch, both ways round
    #[cfg_attr(feature = "clap", value(name = "mocov3"))]
    Mocov3,
    /// Telling the other view of an image from all views of the batch, without a momentum encoder
    #[cfg_attr(feature = "clap", value(name = "simclr"))]
    Simclr,
    /// Telling the labels: the supervised slimmable network that the paper compares with
    Supervised,
}

impl Method {
    /// The head that it trains.
    pub fn head(self) -> HeadKind {
        match self {
            Self::Mocov2 => HeadKind::Mocov2,
            Self::Mocov3 => HeadKind::Mocov3,
            Self::Simclr => HeadKind::Simclr,
            Self::Supervised => HeadKind::Supervised,
        }
    }

    /// Whether a momentum encoder makes its keys.
    pub fn has_keys(self) -> bool {
        matches!(self, Self::Mocov2 | Self::Mocov3)
    }

    /// How each view of an image is made that a step looks at, `image_size` pixels wide (spec section 6).
    pub fn augmentation(self, normalisation: Normalisation, image_size: usize) -> Vec<augment::Recipe> {
        match self {
            Self::Mocov2 => vec![augment::Recipe::moco_v2(normalisation, image_size); 2],
            Self::Mocov3 => augment::Recipe::moco_v3(normalisation, image_size).into(),
            Self::Simclr => vec![augment::Recipe::simclr(normalisation, image_size); 2],
            Self::Supervised => vec![augment::Recipe::supervised(normalisation, image_size)],
        }
    }
}
