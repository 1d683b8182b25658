//! Gradient surgery between widths: what can be done about gradients that conflict. Not in the paper.

use serde::{Deserialize, Serialize};

/// What is done about gradients of widths that point against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Surgery {
    /// Nothing: they are summed
    None,
    /// Each loses its part that points against another's (Yu et al. 2020)
    Pcgrad,
    /// The sum is moved so that the width that gains least gains more (Liu et al. 2021)
    Cagrad,
}
