//! Sizes of what is summed at once, in registers.

use pulp::Simd;

/// Channels that are summed at once; a depthwise convolution has but one.
pub const ROWS: usize = 4;

/// Vectors of pixels that are summed at once, at most: with [`ROWS`] they fill the registers there are.
pub const fn most_vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MOST_VECTORS } else { MOST_VECTORS / 2 }
}
pub const MOST_VECTORS: usize = 6;

/// Values of a vector.
pub const fn lanes<S: Simd>() -> usize {
    size_of::<S::f32s>() / size_of::<f32>()
}
pub const MOST_LANES: usize = 16;

/// Values beyond its last pixel that a canvas must have, since whole vectors are read.
pub const SLACK: usize = MOST_VECTORS * MOST_LANES;
