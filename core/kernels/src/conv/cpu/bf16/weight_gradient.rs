//! The gradient of the weight: products over windows.

use std::{
    arch::x86_64::{
        __mmask16, _mm512_add_ps, _mm512_castps_si512, _mm512_loadu_ps, _mm512_mask_storeu_epi32, _mm512_setzero_si512,
    },
    mem::MaybeUninit,
    ops::Range,
};

use burn::tensor::bf16;

use super::{
    correlation::SharedMut,
    product::{DEPTH, Product, SIDE},
    rounding::transposed,
    tiles::{Multiplier, Unit},
    windows::{Grid, Reader, Windows},
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
    pub grid: Grid,
}

/// Values of a square of two by two tiles of sums, `[value, output]`: what is summed in registers lies together.
const SQUARE: usize = DEPTH * DEPTH;

/// How the work is divided: parts of the batch are summed separately, and so are blocks of channels.
struct Division {
    parts: usize,
    blocks: usize,
    /// Channels of a block.
    channels: usize,
    /// Outputs, padded to whole tiles.
    wide: usize,
    /// Squares of sums along the values of a block's window, and along the outputs.
    squares: [usize; 2],
    /// Values of a task's sums, `[tap along a column, square along the values, square along the outputs]`.
    sums: usize,
}

impl Division {
    /// Returns the place of the sum of a value of a block's window and an output.
    fn place(&self, tap: usize, value: usize, output: usize) -> usize {
        let square = (tap * self.squares[0] + value / DEPTH) * self.squares[1] + output / DEPTH;
        square * SQUARE + value % DEPTH * DEPTH + output % DEPTH
    }
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
        let Grid { batch, windows, taps, outputs, .. } = self.grid;
        let wide = outputs.next_multiple_of(SIDE);
        let whole = taps * windows.values().next_multiple_of(SIDE) * wide;
        let parts = (MOST_SUMS / whole).clamp(1, TASKS.min(batch.div_ceil(windows.images)));
        let channels = windows.channels.div_ceil(TASKS / parts).next_multiple_of(SIDE).min(windows.channels);
        let blocks = windows.channels.div_ceil(channels);
        let squares = [windows.taps * channels, wide].map(|size| size.div_ceil(DEPTH));
        Division { parts, blocks, channels, wide, squares, sums: taps * squares[0] * squares[1] * SQUARE }
    }

    /// Computes `[out, in, taps, taps]`, given images of `size` values and the outputs' gradients.
    pub fn compute(&self, unit: Unit, x: &[bf16], size: usize, gradient: &[bf16]) -> Vec<f32> {
        let Grid { batch, windows, rows, taps, first, outputs } = self.grid;
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
        let task = |scratch: &mut Scratch, task: usize, sums: &mut [MaybeUninit<f32>]| {
            let (part, block) = (task / blocks, task % blocks);
            let first_channel = block * channels;
            let windows = Windows { channels: channels.min(windows.channels - first_channel), ..windows };
            let reader = Reader::new(unit, windows);
            let groups = batch.div_ceil(together);
            let first_group = part * groups / parts;
            for group in first_group..(part + 1) * groups / parts {
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
                    let continues = (group, band) != (first_group, 0);
                    self.multiply(&Multiplier::new(unit), &windows, &division, rows, scratch, (sums, continues));
                }
            }
        };
        let mut partial = Vec::with_capacity(parts * blocks * sums);
        for_each_chunk(&mut partial.spare_capacity_mut()[..parts * blocks * sums], sums, scratch, task);
        // SAFETY: every task wrote its sums.
        unsafe { self.total(unit, &division, partial.as_ptr()) }
    }

    /// Writes the products of some rows of windows to a task's sums, or adds them if it `continues`.
    fn multiply(
        &self,
        multiplier: &Multiplier,
        windows: &Windows,
        division: &Division,
        rows: Range<usize>,
        Scratch { canvas, gradients, .. }: &Scratch,
        (sums, continues): (&mut [MaybeUninit<f32>], bool),
    ) {
        let (length, wide) = (windows.length(), division.wide);
        let row_size = windows.values() * length;
        let tiles = windows.values().div_ceil(SIDE);
        for (tap, tile) in (0..self.grid.taps).flat_map(|tap| (0..tiles).step_by(2).map(move |tile| (tap, tile))) {
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
                    sums: here.map(|tile| sums[division.place(tap, tile * SIDE, output)..].as_mut_ptr().cast()),
                    sums_pitch: DEPTH * size_of::<f32>(),
                    continues,
                };
                let shape = [here[1] + 1 - here[0], DEPTH.min(wide - output) / SIDE];
                // SAFETY: the canvas has rows for the last tile of values, the gradients for the last pair of windows,
                // and the sums for all tiles.
                unsafe { multiplier.multiply(shape, &product) };
            }
        }
    }

    /// Adds the sums of all parts, in the weight's order.
    ///
    /// # Safety
    /// `partial` has the sums of all tasks.
    unsafe fn total(&self, unit: Unit, division: &Division, partial: *const f32) -> Vec<f32> {
        let Grid { windows, taps, outputs, .. } = self.grid;
        let &Division { parts, blocks, channels, sums, .. } = division;
        let size = windows.values() * taps;
        // Where the first part has the sums of the first output, in the weight's order.
        let place = |place: usize| {
            let (channel, y, tap) = (place / windows.taps / taps, place / windows.taps % taps, place % windows.taps);
            let (block, within) = (channel / channels, channel % channels);
            let here = channels.min(windows.channels - block * channels);
            block * sums + division.place(y, tap * here + within, 0)
        };
        let places: Vec<usize> = (0..size).map(place).collect();
        let mut weight = Vec::<f32>::with_capacity(outputs * size);
        let (target, partial) = (SharedMut(weight.as_mut_ptr()), SharedMut(partial.cast_mut()));
        let mut firsts: Vec<usize> = (0..outputs).step_by(SIDE).collect();
        for_each_chunk(
            &mut firsts,
            1,
            || (target, partial),
            |(target, partial), _, first| {
                let first = first[0];
                let parts = Parts { count: parts, apart: blocks * sums, outputs: SIDE.min(outputs - first) };
                // SAFETY: guaranteed by the caller; every 16 outputs have memory, and are written by one thread.
                unsafe {
                    let sums = partial.0.add(division.place(0, 0, first));
                    parts.total(unit, sums, &places, target.0.add(first * size));
                }
            },
        );
        // SAFETY: every value of every output was written.
        unsafe { weight.set_len(outputs * size) };
        weight
    }
}

/// The sums of some outputs in all parts of the batch.
struct Parts {
    count: usize,
    /// From one part's sums to the next one's.
    apart: usize,
    /// At most 16.
    outputs: usize,
}

impl Parts {
    /// Adds the sums at these places for each output, and writes each output's totals one after the other.
    ///
    /// # Safety
    /// Every place has sums of 16 outputs, in each part; the target has memory for the totals.
    unsafe fn total(&self, _: Unit, sums: *const f32, places: &[usize], target: *mut f32) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        unsafe fn total(this: &Parts, sums: *const f32, places: &[usize], target: *mut f32) {
            for (start, here) in (0..).step_by(SIDE).zip(places.chunks(SIDE)) {
                let mut square = [_mm512_setzero_si512(); SIDE];
                for (place, square) in here.iter().zip(&mut square) {
                    // SAFETY: guaranteed by the caller.
                    unsafe {
                        let sums = sums.add(*place);
                        let mut total = _mm512_loadu_ps(sums);
                        for number in 1..this.count {
                            total = _mm512_add_ps(total, _mm512_loadu_ps(sums.add(number * this.apart)));
                        }
                        *square = _mm512_castps_si512(total);
                    }
                }
                for (output, row) in transposed(square).iter().enumerate().take(this.outputs) {
                    // SAFETY: guaranteed by the caller.
                    unsafe {
                        let target = target.add(output * places.len() + start);
                        _mm512_mask_storeu_epi32(target.cast(), __mmask16::MAX >> (SIDE - here.len()), *row);
                    }
                }
            }
        }
        // SAFETY: guaranteed by the caller; there is a unit.
        unsafe { total(self, sums, places, target) }
    }
}
