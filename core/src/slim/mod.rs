//! Slimmable and switchable layers (paper section 3.1; spec section 1).
//!
//! A *slimmable* layer has one weight, of which each width uses a slice; a *switchable* layer has
//! one complete set of parameters per width.

pub mod conv;
pub mod linear;
pub mod norm;

pub use conv::SlimConv2d;
pub use linear::{SlimLinear, SwitchableLinear};
pub use norm::SwitchableBatchNorm;
