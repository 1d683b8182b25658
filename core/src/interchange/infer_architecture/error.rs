//! Why no network can be inferred.

use thiserror::Error;

use super::STEM;
use crate::{encoder::BuildError, layout::MismatchError, width::WidthError};

/// Why no network can be inferred from a state dict. The text calls the file "it".
#[derive(Debug, Clone, PartialEq, Error)]
pub enum InferError {
    /// The first layers of no known architecture are there.
    #[error(
        "no known network is among its {0}: a ResNet has a conv1.weight and a layer1 or features.0, an EfficientNet or \
         MobileNetV3 a features.0.0.weight or a _conv_stem.weight, below any prefix such as module. or encoder_q.; choose a \
         file with torchvision's, SEED's or the authors' names"
    )]
    NoNetwork(String),
    /// There is more than one network.
    #[error(
        "it holds several networks, below {}: save the tensors of one of them alone, in Python: \
         torch.save(network.state_dict(), 'weights.pth')",
        places(.0)
    )]
    Several(Vec<String>),
    /// There is no network of this branch, but there are others.
    #[error("it holds no network below {0}: choose from {places}", places = places(.1))]
    NoBranch(String, Vec<String>),
    /// Two names are the same without the parts that wrappers add.
    #[error("it holds both {} and {}: keep the tensors of one network alone", .0[0], .0[1])]
    Twice([String; 2]),
    /// The first layer is of another architecture.
    #[error("{STEM} has shape {0:?}, but the supported stems have 3 input channels and kernels of 7x7 or 3x3")]
    Stem(Vec<usize>),
    /// The blocks have the authors' names, but batch norms are not switchable.
    #[error("the network is not slimmable: it has no norm for each width, such as bn1.bn.0")]
    NotSlimmable,
    /// A plain network of three stages.
    #[error(
        "it is a plain ResNet of three stages, for small images. Names and shapes do not show whether its blocks have a \
         ReLU before the addition, as this program's do and most others' do not: choose the checkpoint that it was \
         exported from, or a ResNet of four stages"
    )]
    ThreeStages,
    /// Two norms of one width keep different fractions of their channels.
    #[error("no width fits all norms bn.{index}: {}, but {}", .norms[0], .norms[1])]
    Contradiction {
        /// Index of the width.
        index: usize,
        /// The norms, with their channels and those at full width.
        norms: [String; 2],
    },
    /// The layers after the backbone are of another architecture.
    #[error("the layers fc are not those of a supported head")]
    Head,
    /// The widths are not allowed.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// The network cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Other tensors do not fit the inferred network.
    #[error(transparent)]
    Mismatch(#[from] MismatchError),
    /// The network resembles a known one, but is another.
    #[error("it resembles {architecture}, but {mismatch}")]
    Resembles {
        /// The architecture.
        architecture: String,
        /// What does not fit.
        mismatch: MismatchError,
    },
}

/// Lists the places of networks.
fn places(prefixes: &[String]) -> String {
    let places: Vec<&str> = prefixes.iter().map(|prefix| place(prefix)).collect();
    places.join(" and ")
}

/// Names the place of a network whose names begin with `prefix`.
pub(super) fn place(prefix: &str) -> &str {
    if prefix.is_empty() { "its root" } else { prefix.trim_end_matches('.') }
}
