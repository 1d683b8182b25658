//! Gradient surgery between widths, an extension of the paper.

use serde::{Deserialize, Serialize};

/// How widths' gradients that conflict are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Surgery {
    /// Sum them as they are
    None,
    /// PCGrad: project each gradient onto the normal plane of every one it conflicts with (Yu et al. 2020)
    Pcgrad,
    /// CAGrad: change the summed gradient, within a bound, in favour of the width whose loss falls least (Liu et al. 2021)
    Cagrad,
}
