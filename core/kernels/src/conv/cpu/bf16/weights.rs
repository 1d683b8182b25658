//! Weights as left tiles.

use std::arch::x86_64::{
    __m512, __mmask16, _mm512_cmpge_epi32_mask, _mm512_loadu_si512, _mm512_mask_i32gather_ps, _mm512_maskz_loadu_ps,
    _mm512_mullo_epi32, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_storeu_si512,
};

use burn::backend::flex::FlexTensor;

use super::{
    product::{DEPTH, SIDE},
    rounding::{round, round_to_pairs, transposed},
    tiles::Unit,
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

/// The offset of a term without a weight.
const NONE: i32 = -1;

impl Places<'_> {
    /// Returns the offset of each of an output's weights, in the order of a window's values, padded to whole tiles.
    fn offsets(&self) -> Vec<i32> {
        let &Places { channels, strides, rows, taps, .. } = self;
        let mut offsets = Vec::new();
        for row in rows {
            for tap in taps {
                offsets.extend((0..channels).map(|channel| (row + tap + channel * strides[1]) as i32));
            }
            // Values are read in pairs.
            offsets.resize(offsets.len().next_multiple_of(2), NONE);
        }
        offsets.resize(offsets.len().next_multiple_of(DEPTH), NONE);
        offsets
    }
}

impl Weights {
    /// Packs the weights, zero-padded. The unit shows that the processor has the vectors for it.
    pub fn new(_: Unit, weight: &FlexTensor, places: &Places) -> Self {
        let &Places { outputs, strides, .. } = places;
        let weight = &weight.storage::<f32>()[weight.layout().start_offset()..];
        let offsets = places.offsets();
        let furthest = offsets.iter().max().map_or(0, |offset| *offset as usize) + (outputs - 1) * strides[0];
        assert!(furthest < weight.len() && furthest <= i32::MAX as usize, "every weight is inside the tensor");
        let terms = offsets.len() / DEPTH;
        let mut tiles = vec![0; outputs.div_ceil(SIDE) * terms * TILE];
        for_each_chunk(
            &mut tiles,
            terms * TILE,
            || (),
            |(), block, target| {
                let weight = weight[block * SIDE * strides[0]..].as_ptr();
                let outputs = SIDE.min(outputs - block * SIDE);
                // Vectors are read along the axis whose weights are nearer to each other.
                // SAFETY: the offsets are inside the tensor, by the assertion; there is a unit.
                unsafe {
                    match strides[0] < strides[1] {
                        true => pack_by_outputs(weight, &offsets, (outputs, strides[0]), target),
                        false => pack_by_values(weight, &offsets, (outputs, strides[0]), target),
                    }
                }
            },
        );
        Self { tiles, terms }
    }

    /// Returns the tiles of 16 outputs.
    pub fn tiles(&self, block: usize) -> *const u8 {
        self.tiles[block * self.terms * TILE..].as_ptr().cast()
    }
}

/// Packs the weights of at most 16 outputs, `stride` apart, reading 16 weights of an output at a time.
///
/// # Safety
/// Every offset, of every output, is inside the weights; the processor has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pack_by_values(weight: *const f32, offsets: &[i32], (outputs, stride): (usize, usize), target: &mut [u16]) {
    for (offsets, target) in offsets.as_chunks::<DEPTH>().0.iter().zip(target.as_chunks_mut::<TILE>().0) {
        let [first, second] = [0, SIDE].map(|start| &offsets[start..start + SIDE]);
        for (output, target) in target.as_chunks_mut::<DEPTH>().0.iter_mut().enumerate().take(outputs) {
            // SAFETY: guaranteed by the caller.
            unsafe {
                let weight = weight.add(output * stride);
                let rounded = round(gather(weight, first), gather(weight, second));
                _mm512_storeu_si512(target.as_mut_ptr().cast(), rounded);
            }
        }
    }
}

/// Reads the weights at 16 offsets.
///
/// # Safety
/// They are inside the weights; the processor has AVX-512.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn gather(weight: *const f32, offsets: &[i32]) -> __m512 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let offsets = _mm512_loadu_si512(offsets.as_ptr().cast());
        let present = _mm512_cmpge_epi32_mask(offsets, _mm512_setzero_si512());
        _mm512_mask_i32gather_ps::<4>(_mm512_setzero_ps(), present, offsets, weight.cast())
    }
}

/// Packs the weights of at most 16 outputs, `stride` apart, reading one weight of all outputs at a time.
///
/// # Safety
/// Every offset, of every output, is inside the weights; the processor has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pack_by_outputs(weight: *const f32, offsets: &[i32], (outputs, stride): (usize, usize), target: &mut [u16]) {
    let present = __mmask16::MAX >> (SIDE - outputs);
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let apart = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(stride as i32));
    for (offsets, target) in offsets.as_chunks::<DEPTH>().0.iter().zip(target.as_chunks_mut::<TILE>().0) {
        let mut square = [_mm512_setzero_si512(); SIDE];
        for (pair, square) in offsets.as_chunks::<2>().0.iter().zip(&mut square) {
            let mut values = [_mm512_setzero_ps(); 2];
            for (offset, value) in pair.iter().zip(&mut values).filter(|(offset, _)| **offset != NONE) {
                // SAFETY: guaranteed by the caller.
                unsafe {
                    let weight = weight.add(*offset as usize);
                    *value = match stride {
                        1 => _mm512_maskz_loadu_ps(present, weight),
                        _ => _mm512_mask_i32gather_ps::<4>(_mm512_setzero_ps(), present, apart, weight.cast()),
                    };
                }
            }
            *square = round_to_pairs(values[0], values[1]);
        }
        for (row, target) in transposed(square).iter().zip(target.as_chunks_mut::<DEPTH>().0).take(outputs) {
            // SAFETY: a row of a tile is a vector.
            unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), *row) };
        }
    }
}
