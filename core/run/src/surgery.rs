//! Gradient surgery between widths, an extension of the paper.

use serde::{Deserialize, Serialize};

/// How widths' gradients that conflict are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Surgery {
    /// Sum them as they are
    None,
    /// PCGrad: remove from each gradient its component against another one (Yu et al. 2020)
    Pcgrad,
    /// CAGrad: move the sum so that the least improved width improves more (Liu et al. 2021)
    Cagrad,
}
