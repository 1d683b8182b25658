//! The methods that a run can train with.

use serde::{Deserialize, Serialize};

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
    /// SEED: matches a teacher's similarities to a queue of the teacher's embeddings
    Seed,
    /// KD: matches a teacher's outputs as class probabilities, with or without labels (Hinton et al.)
    Kd,
    /// DisCo: MoCo v2 with a large hidden layer, whose embeddings also match a teacher's
    Disco,
    /// BINGO: contrasts with a teacher's embeddings, of the image and of its neighbours in the teacher's features
    Bingo,
    /// CompRess: matches a teacher's similarities between features, each against a memory of its own features
    Compress,
    /// SimDis: predicts a teacher's and the momentum encoder's projections; BYOL without a teacher
    Simdis,
    /// SwAV: predicts the cluster of one crop from the others, without a teacher or negatives
    Swav,
}

impl MethodKind {
    /// Returns whether a cross-entropy of the method is that of classes; the others' are those of positives.
    pub fn has_classes(self) -> bool {
        matches!(self, Self::Supervised | Self::Kd)
    }
}
