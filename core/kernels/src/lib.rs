//! Fused operations for Burn's back ends.
//!
//! Each operation has a plain form, in the back end's own operations, which defines the result. Fused forms for CPUs
//! and GPUs are behind the same function, registered as extensions of Burn's back ends.
#![warn(missing_docs)]

mod autodiff;
pub mod contrastive;
pub mod conv;
mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
pub mod norm;
pub mod pack;
pub mod pool;
pub mod sgd;
pub mod threads;
pub mod views;
