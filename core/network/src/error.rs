//! Why an encoder cannot be built.

use thiserror::Error;

use crate::width::WidthError;

/// Why an encoder cannot be built.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum BuildError {
    /// A depth that the backbone does not come in.
    #[error("a backbone of this kind has no depth {depth}: choose from {known}")]
    Depth {
        /// The depth asked for.
        depth: usize,
        /// Those there are.
        known: &'static str,
    },
    /// A size that EfficientNet-B0 does not come in.
    #[error("EfficientNet-B0 comes in one size only: its widths must be 1.0 alone, and its multiplier 1")]
    OneSize,
    /// An output dimension of zero.
    #[error("the output dimension must be at least 1")]
    NoOutputs,
    /// A layer would have no channel.
    #[error("multiplier {multiplier} leaves none of a layer's {channels} channels: use a larger one")]
    NoChannels {
        /// The multiplier in question.
        multiplier: f64,
        /// The layer's standard channels.
        channels: usize,
    },
    /// A width that leaves nothing.
    #[error(transparent)]
    Width(#[from] WidthError),
}
