//! Sums over windows: the forward pass, and the gradient of the input.

use std::{
    arch::x86_64::{
        __m256bh, __m256i, __mmask16, __mmask32, _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh, _mm512_mask_storeu_epi16,
        _mm512_maskz_loadu_ps,
    },
    mem::transmute,
    ops::Range,
};

use burn::tensor::bf16;

use super::{
    product::{DEPTH, Product, SIDE},
    rounding::round,
    tiles::{Multiplier, Unit},
    weights::Weights,
    windows::{Grid, Reader},
};
use crate::threads::for_each_chunk;

/// Pairs of values in a canvas, at most, unless one row of windows needs more: they stay in the L2 cache.
const NEAR: usize = 1 << 17;

/// Tasks to divide a batch into, so that no core waits long for another: bands of rows, or else parts of the outputs.
const TASKS: usize = 8;

/// Sums over the windows of a batch of images, for each of some outputs.
#[derive(Debug, Clone, Copy)]
pub struct Correlation {
    pub grid: Grid,
    pub target: Target,
}

/// Where sums are written: every `step`-th pixel from `first` on, in rows `pitch` apart and planes of `plane` values,
/// one for each output of each image.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub first: usize,
    pub step: usize,
    pub pitch: usize,
    pub plane: usize,
}

/// Memory that threads write to, each to another part.
#[derive(Clone, Copy)]
pub struct SharedMut<T>(pub *mut T);

// SAFETY: threads write to different parts.
unsafe impl<T: Send> Send for SharedMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<T> {}

/// Some outputs of consecutive rows of windows of some images side by side.
struct Task {
    first_image: usize,
    images: usize,
    first_row: usize,
    rows: usize,
    outputs: Range<usize>,
}

/// A thread's memory.
struct Scratch {
    /// What each row of pixels contributes, `[row, pair of values, window, value of the pair]`.
    canvas: Vec<u32>,
    /// Two by two tiles of sums.
    sums: [[f32; DEPTH]; DEPTH],
}

impl Correlation {
    /// Computes the sums of `x`, images of `size` values.
    ///
    /// # Safety
    /// `output` has a plane for each output of each image, and rows of windows are inside it.
    pub unsafe fn compute(&self, unit: Unit, x: &[bf16], size: usize, weights: &Weights, output: SharedMut<bf16>) {
        let Grid { batch, windows, rows, taps, first, outputs } = self.grid;
        let groups = batch.div_ceil(windows.images);
        let row = windows.values().div_ceil(2) * windows.length();
        let fitting = (NEAR / row).saturating_sub(taps) / windows.stride + 1;
        let bands = rows.div_ceil(fitting).max(TASKS.div_ceil(groups)).min(rows);
        let blocks = outputs.div_ceil(DEPTH);
        let shares = (TASKS / (groups * bands)).clamp(1, blocks);
        let task = |number: usize| {
            let (group, band, share) = (number / shares / bands, number / shares % bands, number % shares);
            let outputs = [share, share + 1].map(|share| outputs.min(share * blocks / shares * DEPTH));
            let (first_image, first_row) = (group * windows.images, band * rows / bands);
            let images = windows.images.min(batch - first_image);
            let rows = (band + 1) * rows / bands - first_row;
            Task { first_image, images, first_row, rows, outputs: outputs[0]..outputs[1] }
        };
        let mut tasks: Vec<Task> = (0..groups * bands * shares).map(task).collect();
        let reader = Reader::new(unit, windows);
        let pixel_rows = |rows: usize| (rows - 1) * windows.stride + taps;
        // The last product of a sum may read on past the rows, where weights are zero.
        let values = pixel_rows(rows.div_ceil(bands)) * row + SIDE * windows.length();
        let scratch = || Scratch { canvas: vec![0; values], sums: [[0.0; DEPTH]; DEPTH] };
        for_each_chunk(&mut tasks, 1, scratch, |scratch, _, task| {
            let task = &task[0];
            let first = first + (task.first_row * windows.stride) as isize;
            let rows = scratch.canvas.chunks_exact_mut(row).take(pixel_rows(task.rows));
            for (row, canvas) in (first..).zip(rows) {
                let images = x[task.first_image * size..].chunks_exact(size).take(task.images);
                reader.fill_pairs(images, row, canvas);
            }
            let multiplier = Multiplier::new(unit);
            // SAFETY: guaranteed by the caller; tasks have different rows.
            unsafe { self.multiply(task, &multiplier, weights, scratch, output) };
        });
    }

    /// Computes the sums of a task whose canvas is filled.
    ///
    /// # Safety
    /// See [`compute`](Self::compute); nothing else writes to the task's rows.
    unsafe fn multiply(
        &self,
        task: &Task,
        multiplier: &Multiplier,
        weights: &Weights,
        Scratch { canvas, sums }: &mut Scratch,
        output: SharedMut<bf16>,
    ) {
        let windows = self.grid.windows;
        let (length, used) = (windows.length(), task.images * windows.count);
        let row = windows.values().div_ceil(2) * length;
        for block in task.outputs.clone().step_by(DEPTH) {
            let outputs = block..task.outputs.end.min(block + DEPTH);
            let tiles = outputs.len().div_ceil(SIDE);
            let left = [0, tiles - 1].map(|tile| weights.tiles(block / SIDE + tile));
            for (number, start) in
                (0..task.rows).flat_map(|row| (0..used).step_by(DEPTH).map(move |start| (row, start)))
            {
                let product = Product {
                    left,
                    left_pitch: size_of::<[u16; DEPTH]>(),
                    left_step: size_of::<[[u16; DEPTH]; SIDE]>(),
                    left_jump: 0,
                    right: canvas[number * windows.stride * row + start..].as_ptr().cast(),
                    right_pitch: length * size_of::<u32>(),
                    right_step: SIDE * length * size_of::<u32>(),
                    terms: weights.terms,
                    runs: 1,
                    sums: [0, (tiles - 1) * SIDE].map(|row| sums[row..].as_mut_ptr().cast()),
                    sums_pitch: size_of::<[f32; DEPTH]>(),
                    continues: false,
                };
                // SAFETY: the weights have tiles for every term, the canvas has rows for them; the rows of the output
                // are the task's; there is a unit.
                unsafe {
                    multiplier.multiply([tiles, 2], &product);
                    self.round(task, number, start..used.min(start + DEPTH), outputs.clone(), sums, output);
                }
            }
        }
    }

    /// Writes sums of some windows in a task's row of this `number`.
    ///
    /// # Safety
    /// As of [`multiply`](Self::multiply); the processor has AVX-512.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn round(
        &self,
        task: &Task,
        number: usize,
        windows: Range<usize>,
        outputs: Range<usize>,
        sums: &[[f32; DEPTH]; DEPTH],
        output: SharedMut<bf16>,
    ) {
        let (grid, target) = (self.grid, self.target);
        let count = grid.windows.count;
        let mut first = windows.start;
        while first < windows.end {
            // Up to the end of the image.
            let (image, window) = (first / count, first % count);
            let next = windows.end.min(first + count - window);
            let plane = (task.first_image + image) * grid.outputs + outputs.start;
            let row = (task.first_row + number) * target.pitch;
            let place = plane * target.plane + target.first + row + window * target.step;
            for (sums, number) in sums.iter().zip(0..outputs.len()) {
                let sums = &sums[first - windows.start..next - windows.start];
                // SAFETY: these sums are the task's.
                unsafe { write(sums, output.0.add(place + number * target.plane), target.step) };
            }
            first = next;
        }
    }
}

/// Rounds and writes at most [`DEPTH`] values, `step` apart.
///
/// # Safety
/// There is memory for them at the target; the processor has AVX-512.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn write(values: &[f32], target: *mut bf16, step: usize) {
    let lanes = |count: usize| ((1_u32 << count) - 1) as __mmask16;
    let [lower, upper] = [values.len().min(SIDE), values.len().saturating_sub(SIDE)];
    // SAFETY: the lanes are inside the values; guaranteed by the caller for the target.
    unsafe {
        let first = _mm512_maskz_loadu_ps(lanes(lower), values.as_ptr());
        let second = _mm512_maskz_loadu_ps(lanes(upper), values.as_ptr().wrapping_add(SIDE));
        match step {
            1 => {
                let written = __mmask32::MAX >> (DEPTH - values.len());
                _mm512_mask_storeu_epi16(target.cast(), written, round(first, second));
            }
            2 => {
                for (number, (count, values)) in [(lower, first), (upper, second)].into_iter().enumerate() {
                    let values = transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values));
                    // Every second value.
                    let written = (0x5555_5555_u64 & ((1 << (2 * count)) - 1)) as __mmask32;
                    let target = target.wrapping_add(number * SIDE * step);
                    _mm512_mask_storeu_epi16(target.cast(), written, _mm512_cvtepu16_epi32(values));
                }
            }
            _ => {
                for (place, value) in values.iter().enumerate() {
                    *target.add(place * step) = bf16::from_f32(*value);
                }
            }
        }
    }
}
