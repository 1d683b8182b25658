//! Weights as left tiles.

use burn::backend::flex::FlexTensor;

use super::{
    rounding::round_slice,
    tiles::{DEPTH, SIDE, Unit},
};
use crate::threads::for_each_chunk;

/// Values of a tile.
const TILE: usize = SIDE * DEPTH;

/// Weights of a correlation, rounded and packed in the order in which they are read: of every 16 outputs, all terms.
pub struct Weights {
    tiles: Vec<u16>,
    /// Products that a sum consists of.
    pub terms: usize,
}

/// Where the weights of a correlation are in a tensor.
pub struct Places<'a> {
    pub outputs: usize,
    pub channels: usize,
    /// From one output, and from one channel, to the next.
    pub strides: [usize; 2],
    /// Offsets of a window's taps along a column.
    pub rows: &'a [usize],
    /// Offsets of a window's taps along a row.
    pub taps: &'a [usize],
}

impl Weights {
    /// Packs the weights, zero-padded. The unit shows that the processor has the vectors for it.
    pub fn new(_: Unit, weight: &FlexTensor, places: &Places) -> Self {
        let &Places { outputs, channels, strides, rows, taps } = places;
        let weight = &weight.storage::<f32>()[weight.layout().start_offset()..];
        let row_size = (taps.len() * channels).next_multiple_of(2);
        let terms = (rows.len() * row_size).div_ceil(DEPTH);
        let mut tiles = vec![0; outputs.div_ceil(SIDE) * terms * TILE];
        let blank = || vec![0.0; terms * DEPTH];
        for_each_chunk(&mut tiles, terms * TILE, blank, |line, block, target| {
            for output in 0..SIDE.min(outputs - block * SIDE) {
                let weight = &weight[(block * SIDE + output) * strides[0]..];
                for (line, row) in line.chunks_mut(row_size).zip(rows) {
                    for (line, tap) in line.chunks_exact_mut(channels).zip(taps) {
                        let weight = weight[row + tap..].iter().step_by(strides[1]);
                        line.iter_mut().zip(weight).for_each(|(line, weight)| *line = *weight);
                    }
                }
                // SAFETY: there is a unit.
                unsafe { round_slice(line, &mut target[output * DEPTH..], TILE) };
            }
        });
        Self { tiles, terms }
    }

    /// Returns the tiles of 16 outputs.
    pub fn tiles(&self, block: usize) -> *const u8 {
        self.tiles[block * self.terms * TILE..].as_ptr().cast()
    }
}
