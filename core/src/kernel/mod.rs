//! Hot operations. Each has a plain tensor form that defines what is right, and may have a fused form
//! behind the same function, registered as an extension of Burn's back ends.

pub mod contrast;
pub mod conv;
pub(crate) mod cpu;
pub mod descent;
#[cfg(feature = "webgpu")]
mod gpu;
pub mod norm;
pub mod pack;
pub mod pool;
pub mod views;
