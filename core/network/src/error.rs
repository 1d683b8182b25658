//! Why an encoder cannot be built.

use thiserror::Error;

use crate::width::WidthError;

/// Why an encoder cannot be built.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum BuildError {
    /// The backbone does not exist at this depth.
    #[error("a backbone of this kind has no depth {depth}: choose from {known}")]
    Depth {
        /// The depth asked for.
        depth: usize,
        /// The depths that exist.
        known: &'static str,
    },
    /// The backbone, of this name, does not exist in this size.
    #[error("{0} has one size only: set widths = 1.0 and multiplier = 1")]
    OneSize(&'static str),
    /// The output dimension is zero.
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
    /// A width is not valid for this network.
    #[error(transparent)]
    Width(#[from] WidthError),
}
