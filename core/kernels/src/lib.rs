//! Fused operations for Burn's back ends.
//!
//! Each operation has a folder. `mod.rs` has its public function and the trait that makes it an operation of a back
//! end; `plain.rs` the reference implementation in the back end's own operations; `cpu.rs` and `gpu.rs` the fused
//! forms; and `autodiff.rs` records it in the autodiff graph. Its backward pass is a second trait, which only
//! `autodiff.rs` calls.
#![warn(missing_docs)]

mod autodiff;
pub mod contrastive;
pub mod conv;
mod cpu;
pub mod device;
pub mod fork;
#[cfg(feature = "webgpu")]
mod gpu;
pub mod norm;
pub mod pack;
pub mod pool;
pub mod ranks;
pub mod sgd;
pub mod threads;
pub mod views;
