//! The gradient of the weight: products over windows.

use std::{
    arch::x86_64::{
        __mmask16, _mm512_add_ps, _mm512_castps_si512, _mm512_loadu_ps, _mm512_mask_storeu_epi32, _mm512_setzero_si512,
    },
    ops::Range,
};

use super::{
    correlation::SharedMut,
    rounding::transposed,
    tiles::{DEPTH, Multiplier, Product, SIDE, Unit},
    windows::{Reader, Windows},
};
use crate::threads::for_each_chunk;

/// Values on both sides of a product, at most, unless one row of windows needs more: they stay in the L2 cache.
const NEAR: usize = 1 << 18;

/// Tasks, at most: enough for all cores, and independent of the number of threads, so that the order of sums is too.
const TASKS: usize = 16;

/// Values of all partial sums, at most: more are channels' blocks instead of parts of the batch.
const MOST_SUMS: usize = 1 << 21;

/// Products of a batch's windows with the gradients of their outputs.
pub struct WeightGradient {
    pub batch: usize,
    /// A row of windows.
    pub windows: Windows,
    /// Rows of windows.
    pub rows: usize,
    /// Taps of a window along a column.
    pub taps: usize,
    /// The row of pixels of the first tap of the first row of windows.
    pub first: isize,
    pub outputs: usize,
}

/// How the work is divided: parts of the batch are summed separately, and so are blocks of channels.
struct Division {
    parts: usize,
    blocks: usize,
    /// Channels of a block.
    channels: usize,
    /// Outputs, padded to whole tiles.
    wide: usize,
    /// Values of a block's window, padded to whole tiles.
    values: usize,
    /// Values of a task's sums, `[tap along a column, value, output]`.
    sums: usize,
}

/// A thread's memory.
struct Scratch {
    /// What each row of pixels contributes, `[row, value, window]`.
    canvas: Vec<u16>,
    /// Gradients of a row of windows, `[output, window]`.
    line: Vec<u16>,
    /// Gradients of some rows of windows, `[row, pair of windows, output, window of the pair]`.
    gradients: Vec<u32>,
}

impl WeightGradient {
    fn division(&self) -> Division {
        let Self { windows, taps, outputs, .. } = *self;
        let wide = outputs.next_multiple_of(SIDE);
        let whole = taps * windows.values().next_multiple_of(SIDE) * wide;
        let parts = (MOST_SUMS / whole).clamp(1, TASKS.min(self.batch.div_ceil(windows.images)));
        let channels = windows.channels.div_ceil(TASKS / parts).next_multiple_of(SIDE).min(windows.channels);
        let values = (windows.taps * channels).next_multiple_of(SIDE);
        let blocks = windows.channels.div_ceil(channels);
        Division { parts, blocks, channels, wide, values, sums: taps * values * wide }
    }

    /// Computes `[out, in, taps, taps]`, given images of `size` values and the outputs' gradients.
    pub fn compute(&self, unit: Unit, x: &[f32], size: usize, gradient: &[f32]) -> Vec<f32> {
        let Self { batch, windows, rows, taps, first, outputs } = *self;
        let Windows { height, width, stride, images: together, .. } = windows;
        let division = self.division();
        let Division { parts, blocks, channels, wide, sums, .. } = division;
        let length = windows.length();
        let row_size = windows.taps * channels * length;
        let fitting = (NEAR / (stride * row_size + wide * length)).clamp(1, rows);
        let bands = rows.div_ceil(fitting);
        let most = rows.div_ceil(bands);
        let pixel_rows = |rows: usize| (rows - 1) * stride + taps;
        let outputs_size = outputs * rows * windows.count;
        let gradient_reader = Reader::new(
            unit,
            Windows { channels: outputs, height: rows, width: windows.count, taps: 1, first: 0, stride: 1, ..windows },
        );
        let scratch = || Scratch {
            // The last tile of values may read on past the rows.
            canvas: vec![0; pixel_rows(most) * row_size + SIDE * length],
            line: vec![0; outputs * length],
            gradients: vec![0; most * wide * length / 2],
        };
        let task = |scratch: &mut Scratch, task: usize, sums: &mut [f32]| {
            let (part, block) = (task / blocks, task % blocks);
            let first_channel = block * channels;
            let windows = Windows { channels: channels.min(windows.channels - first_channel), ..windows };
            let reader = Reader::new(unit, windows);
            let groups = batch.div_ceil(together);
            for group in part * groups / parts..(part + 1) * groups / parts {
                let images = group * together..batch.min((group + 1) * together);
                for band in 0..bands {
                    let rows = band * rows / bands..(band + 1) * rows / bands;
                    let pixels = first + (rows.start * stride) as isize..;
                    let canvas = scratch.canvas.chunks_exact_mut(windows.values() * length);
                    for (row, canvas) in pixels.zip(canvas).take(pixel_rows(rows.len())) {
                        let channels = |image: usize| &x[image * size + first_channel * height * width..];
                        reader.fill_rows(images.clone().map(channels), row, canvas);
                    }
                    for (row, target) in rows.clone().zip(scratch.gradients.chunks_exact_mut(wide * length / 2)) {
                        let gradients = images.clone().map(|image| &gradient[image * outputs_size..][..outputs_size]);
                        gradient_reader.fill_transposed(gradients, row as isize, &mut scratch.line, target);
                    }
                    self.multiply(&Multiplier::new(unit), &windows, &division, rows, scratch, sums);
                }
            }
        };
        let mut partial = vec![0.0; parts * blocks * sums];
        for_each_chunk(&mut partial, sums, scratch, task);
        self.total(unit, &division, &partial)
    }

    /// Adds the products of some rows of windows to a task's sums.
    fn multiply(
        &self,
        multiplier: &Multiplier,
        windows: &Windows,
        &Division { wide, values, .. }: &Division,
        rows: Range<usize>,
        Scratch { canvas, gradients, .. }: &Scratch,
        sums: &mut [f32],
    ) {
        let length = windows.length();
        let row_size = windows.values() * length;
        let tiles = windows.values().div_ceil(SIDE);
        for (tap, tile) in (0..self.taps).flat_map(|tap| (0..tiles).step_by(2).map(move |tile| (tap, tile))) {
            let here = [tile, (tile + 1).min(tiles - 1)];
            for output in (0..wide).step_by(DEPTH) {
                let product = Product {
                    left: here.map(|tile| canvas[tap * row_size + tile * SIDE * length..].as_ptr().cast()),
                    left_pitch: length * size_of::<u16>(),
                    left_step: DEPTH * size_of::<u16>(),
                    left_jump: (windows.stride * row_size - length) * size_of::<u16>(),
                    right: gradients[output..].as_ptr().cast(),
                    right_pitch: wide * size_of::<u32>(),
                    right_step: SIDE * wide * size_of::<u32>(),
                    terms: length / DEPTH,
                    runs: rows.len(),
                    sums: here.map(|tile| sums[(tap * values + tile * SIDE) * wide + output..].as_mut_ptr()),
                    sums_pitch: wide * size_of::<f32>(),
                    continues: true,
                };
                let shape = [here[1] + 1 - here[0], DEPTH.min(wide - output) / SIDE];
                // SAFETY: the canvas has rows for the last tile of values, the gradients for the last pair of windows,
                // and the sums for all tiles.
                unsafe { multiplier.multiply(shape, &product) };
            }
        }
    }

    /// Adds the sums of all parts, in the weight's order.
    fn total(&self, _: Unit, division: &Division, partial: &[f32]) -> Vec<f32> {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        unsafe fn total(this: &WeightGradient, division: &Division, partial: &[f32], first: usize, target: *mut f32) {
            let WeightGradient { windows, taps, outputs, .. } = *this;
            let &Division { parts, blocks, channels, wide, values, sums } = division;
            let size = windows.values() * taps;
            for start in (0..size).step_by(SIDE) {
                let here = SIDE.min(size - start);
                // The totals of 16 outputs at each place in the weight, to be turned to those of each output.
                let mut square = [_mm512_setzero_si512(); SIDE];
                for (place, square) in (start..start + here).zip(&mut square) {
                    let (channel, y, tap) =
                        (place / windows.taps / taps, place / windows.taps % taps, place % windows.taps);
                    let (block, within) = (channel / channels, channel % channels);
                    let channels = channels.min(windows.channels - block * channels);
                    let value = (y * values + tap * channels + within) * wide + first;
                    let part = |part: usize| partial[(part * blocks + block) * sums + value..][..SIDE].as_ptr();
                    // SAFETY: the vectors are inside the sums.
                    unsafe {
                        let mut total = _mm512_loadu_ps(part(0));
                        for number in 1..parts {
                            total = _mm512_add_ps(total, _mm512_loadu_ps(part(number)));
                        }
                        *square = _mm512_castps_si512(total);
                    }
                }
                let rows = transposed(square);
                for (output, row) in rows.iter().enumerate().take(outputs - first) {
                    // SAFETY: guaranteed by the caller.
                    unsafe {
                        let target = target.add(output * size + start);
                        _mm512_mask_storeu_epi32(target.cast(), __mmask16::MAX >> (SIDE - here), *row);
                    }
                }
            }
        }
        let size = self.windows.values() * self.taps;
        let mut weight = Vec::with_capacity(self.outputs * size);
        let target = SharedMut(weight.as_mut_ptr());
        let mut blocks: Vec<usize> = (0..self.outputs).step_by(SIDE).collect();
        for_each_chunk(
            &mut blocks,
            1,
            || target,
            |target, _, block| {
                // SAFETY: there is a unit; every 16 outputs have memory, and are written by one thread.
                unsafe { total(self, division, partial, block[0], target.0.add(block[0] * size)) };
            },
        );
        // SAFETY: every value of every output was written.
        unsafe { weight.set_len(self.outputs * size) };
        weight
    }
}
