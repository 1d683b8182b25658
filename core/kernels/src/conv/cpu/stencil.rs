//! Weights packed in the order in which they are read.

use std::{array, mem::MaybeUninit, ops::Range};

use burn::backend::flex::FlexTensor;

use super::vectors::{ROWS, SLACK};
use crate::cpu::{par_collect_uninit, vectorised};

/// Values of a canvas that stay in the L1 cache while all channels are summed.
const NEAR: usize = 6 << 10;

/// Returns the strides of a weight, which may be a slice of a larger one.
pub fn strides(weight: &FlexTensor) -> [usize; 4] {
    array::from_fn(|axis| weight.layout().strides()[axis].try_into().expect("strides of a slice are not negative"))
}

/// Returns the offset of the value at `place`.
pub fn at(place: [usize; 4], strides: [usize; 4]) -> usize {
    place.iter().zip(strides).map(|(place, stride)| place * stride).sum()
}

/// Packed weights and tap offsets of the sums `sums[row][pixel] = Σ weight[row][tap] * canvas[offsets[tap] + pixel]`.
pub struct Stencil {
    pub rows: usize,
    pub offsets: Vec<usize>,
    /// Ordered by group of channels, range of near taps, block of rows, tap and row of the block; zero-padded.
    pub weights: Vec<f32>,
    /// Rows per block.
    pub block: usize,
    /// Taps per range: their values stay in the L1 cache.
    pub near: usize,
}

impl Stencil {
    /// Packs the weights of `groups` of `rows` each. `places` are the offsets of the taps' values in `weight` for the
    /// first row; `strides` are from one group and one row to the next. `reach` is the span of the offsets in one plane
    /// of a canvas, which has `taps` of them.
    pub fn new(
        [groups, rows]: [usize; 2],
        offsets: Vec<usize>,
        (reach, taps): (usize, usize),
        weight: &FlexTensor,
        places: &[usize],
        strides: [usize; 2],
    ) -> Self {
        let block = if rows == 1 { 1 } else { ROWS };
        let blocks = rows.div_ceil(block);
        let near = ((NEAR / (SLACK + reach)).max(1) * taps).min(offsets.len());
        let ranges = offsets.len().div_ceil(near.max(1));
        let values = &weight.storage::<f32>()[weight.layout().start_offset()..];
        let in_a_row = places.iter().zip(places.first().copied().unwrap_or(0)..).all(|(place, next)| *place == next);
        let pack = |(): &mut (), number: usize, target: &mut [MaybeUninit<f32>]| {
            let (group, range, first) = (number / blocks / ranges, number / blocks % ranges, number % blocks * block);
            let places = &places[range * near..offsets.len().min((range + 1) * near)];
            let rows = first..rows.min(first + block);
            if places.len() < near || rows.len() < block {
                target.fill(MaybeUninit::new(0.0));
            }
            let values = &values[group * strides[0] + first * strides[1]..];
            // Reads the weight in memory order.
            if strides[1] == 1 {
                for (&place, target) in places.iter().zip(target.chunks_exact_mut(block)) {
                    let values = &values[place..][..rows.len()];
                    target.iter_mut().zip(values).for_each(|(target, value)| _ = target.write(*value));
                }
            } else if in_a_row && block == ROWS {
                let row = |row: usize| &values[row.min(rows.len() - 1) * strides[1] + places[0]..][..places.len()];
                interleave(array::from_fn(row), target);
            } else {
                for row in 0..rows.len() {
                    let (values, target) = (&values[row * strides[1]..], target[row..].iter_mut().step_by(block));
                    target.zip(places).for_each(|(target, &place)| _ = target.write(values[place]));
                }
            }
        };
        let size = block * near;
        // SAFETY: `pack` fills a chunk with zeros first unless it has a weight for every value.
        let weights = unsafe { par_collect_uninit(groups * ranges * blocks * size, size.max(1), || (), pack) };
        Self { rows, offsets, weights, block, near }
    }

    /// Returns whether there are no taps, so that all sums are zero.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Returns the ranges of near taps with the weights of one group.
    pub fn ranges(&self, group: usize) -> impl Iterator<Item = (Range<usize>, &[f32])> {
        let taps = self.offsets.len();
        let size = self.rows.next_multiple_of(self.block) * self.near;
        let ranges = (0..taps).step_by(self.near).map(move |first| first..(first + self.near).min(taps));
        ranges.zip(self.weights.chunks_exact(size).skip(group * taps.div_ceil(self.near)))
    }
}

/// Interleaves the rows.
fn interleave(rows: [&[f32]; ROWS], target: &mut [MaybeUninit<f32>]) {
    vectorised(
        #[inline(always)]
        || {
            let [first, second, third, fourth] = rows;
            let rows = first.iter().zip(second).zip(third.iter().zip(fourth));
            let targets = target.as_chunks_mut::<ROWS>().0;
            for (target, ((first, second), (third, fourth))) in targets.iter_mut().zip(rows) {
                *target = [first, second, third, fourth].map(|value| MaybeUninit::new(*value));
            }
        },
    );
}
