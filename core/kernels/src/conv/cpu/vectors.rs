//! How much is summed at once, in registers.

use pulp::Simd;

/// Channels summed at once; a depthwise convolution has only one per group.
pub const ROWS: usize = 4;

/// Returns the maximum number of pixel vectors summed at once: with [`ROWS`] they fill the registers.
pub const fn most_vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MOST_VECTORS } else { MOST_VECTORS / 2 }
}
pub const MOST_VECTORS: usize = 6;

/// Returns the number of values in a vector.
pub const fn lanes<S: Simd>() -> usize {
    size_of::<S::f32s>() / size_of::<f32>()
}
pub const MOST_LANES: usize = 16;

/// Values that a canvas needs beyond its last pixel, since whole vectors are read.
pub const SLACK: usize = MOST_VECTORS * MOST_LANES;
