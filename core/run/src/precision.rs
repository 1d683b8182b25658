//! Precision of the arithmetic.

use serde::{Deserialize, Serialize};

/// Precision of convolutions, linear layers and the activations between them. Parameters, the arithmetic of norms, losses
/// and the optimiser always use 32 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits throughout
    #[default]
    F32,
    /// bf16 where it is known to be faster, else f32; decided when a run starts, and recorded
    Auto,
    /// bfloat16, with the range of 32 bits; on a CPU for convolutions and activations, if it multiplies it, else f32
    Bf16,
    /// float16, with dynamic loss scaling so that gradients do not underflow
    F16,
}
