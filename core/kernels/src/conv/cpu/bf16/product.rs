//! Products of tiles in bfloat16.

/// Rows of a tile, and columns of the right one and of the sums.
pub const SIDE: usize = 16;

/// Values of a left tile's row: what one product sums over. A right tile has a row for each pair of them.
pub const DEPTH: usize = 2 * SIDE;

/// Tiles of sums at once along each axis, at most: with their factors they fill the registers.
pub const MOST: usize = 2;

/// A matrix product of tiles: sums, over some terms, of a left tile times a right one. Pitches and steps are in bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Product {
    /// The first term's left tiles, one for each row of tiles of sums; twice the same if there is one row.
    pub left: [*const u8; MOST],
    /// From one row of a left tile to the next.
    pub left_pitch: usize,
    /// From one term's left tiles to the next one's.
    pub left_step: usize,
    /// What is added to that after a run of terms.
    pub left_jump: usize,
    /// The first term's first right tile. The one for the next column of tiles of sums starts 64 bytes later.
    pub right: *const u8,
    /// From one row of a right tile to the next.
    pub right_pitch: usize,
    /// From one term's right tiles to the next one's.
    pub right_step: usize,
    /// Terms of a run.
    pub terms: usize,
    /// Runs of terms.
    pub runs: usize,
    /// The sums of each row of tiles. Those of the next column of tiles start 64 bytes later.
    pub sums: [*mut f32; MOST],
    /// From one row of sums to the next.
    pub sums_pitch: usize,
    /// Whether to add to the sums instead of writing them.
    pub continues: bool,
}
