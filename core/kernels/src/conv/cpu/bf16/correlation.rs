//! Sums over windows: the forward pass, and the gradient of the input.

use std::{
    arch::x86_64::{
        __mmask16, _mm512_loadu_si512, _mm512_mask_i32scatter_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    },
    array,
    ops::Range,
};

use super::{
    tiles::{DEPTH, Multiplier, Product, SIDE, Unit},
    weights::Weights,
    windows::{Reader, Windows},
};
use crate::threads::for_each_chunk;

/// Pairs of values in a canvas, at most, unless one row of windows needs more: they stay in the L2 cache.
const NEAR: usize = 1 << 17;

/// Tasks to divide a batch into, so that no core waits long for another: bands of rows, or else parts of the outputs.
const TASKS: usize = 8;

/// Sums over the windows of a batch of images, for each of some outputs.
#[derive(Debug, Clone, Copy)]
pub struct Correlation {
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
pub struct SharedMut(pub *mut f32);

// SAFETY: threads write to different parts.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

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
    pub unsafe fn compute(&self, unit: Unit, x: &[f32], size: usize, weights: &Weights, output: SharedMut) {
        let Self { batch, windows, rows, taps, .. } = *self;
        let groups = batch.div_ceil(windows.images);
        let row = windows.values().div_ceil(2) * windows.length();
        let fitting = (NEAR / row).saturating_sub(taps) / windows.stride + 1;
        let bands = rows.div_ceil(fitting).max(TASKS.div_ceil(groups)).min(rows);
        let blocks = self.outputs.div_ceil(DEPTH);
        let shares = (TASKS / (groups * bands)).clamp(1, blocks);
        let task = |number: usize| {
            let (group, band, share) = (number / shares / bands, number / shares % bands, number % shares);
            let outputs = [share, share + 1].map(|share| self.outputs.min(share * blocks / shares * DEPTH));
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
            let first = self.first + (task.first_row * windows.stride) as isize;
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
        output: SharedMut,
    ) {
        let Self { windows, outputs, target, .. } = *self;
        let (length, used) = (windows.length(), task.images * windows.count);
        let row = windows.values().div_ceil(2) * length;
        let in_place = target.step == 1 && windows.count.is_multiple_of(DEPTH);
        for block in task.outputs.clone().step_by(DEPTH) {
            let here = DEPTH.min(task.outputs.end - block);
            let tiles = here.div_ceil(SIDE);
            let left = [0, tiles - 1].map(|tile| weights.tiles(block / SIDE + tile));
            for (number, start) in
                (0..task.rows).flat_map(|row| (0..used).step_by(DEPTH).map(move |start| (row, start)))
            {
                let place = |window: usize, output: usize| {
                    let image = task.first_image + window / windows.count;
                    let pixel = (task.first_row + number) * target.pitch + window % windows.count * target.step;
                    (image * outputs + output) * target.plane + target.first + pixel
                };
                let in_place = in_place && here.is_multiple_of(SIDE);
                let (places, pitch) = match in_place {
                    true => {
                        let place = |tile: usize| output.0.wrapping_add(place(start, block + tile * SIDE));
                        ([place(0), place(tiles - 1)], target.plane)
                    }
                    false => ([0, (tiles - 1) * SIDE].map(|row| sums[row..].as_mut_ptr().cast()), DEPTH),
                };
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
                    sums: places,
                    sums_pitch: pitch * size_of::<f32>(),
                    continues: false,
                };
                // SAFETY: the weights have tiles for every term, the canvas has rows for them; the sums are the task's.
                unsafe { multiplier.multiply([tiles, 2], &product) };
                if in_place {
                    continue;
                }
                let end = used.min(start + DEPTH);
                let mut first = start;
                while first < end {
                    // Up to the end of the image.
                    let next = end.min((first / windows.count + 1) * windows.count);
                    for (output_number, sums) in sums.iter().enumerate().take(here) {
                        let target_place = output.0.wrapping_add(place(first, block + output_number));
                        // SAFETY: these sums are the task's; there is a unit.
                        unsafe { write(&sums[first - start..next - start], target_place, target.step) };
                    }
                    first = next;
                }
            }
        }
    }
}

/// Writes at most [`DEPTH`] values, `step` apart.
///
/// # Safety
/// There is memory for them at the target; the processor has AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn write(values: &[f32], target: *mut f32, step: usize) {
    let offsets: [i32; SIDE] = array::from_fn(|lane| (lane * step) as i32);
    for (number, values) in values.chunks(SIDE).enumerate() {
        let lanes = __mmask16::MAX >> (SIDE - values.len());
        // SAFETY: the lanes are inside the values; guaranteed by the caller for the target.
        unsafe {
            let target = target.add(number * SIDE * step);
            let vector = _mm512_maskz_loadu_ps(lanes, values.as_ptr());
            match step {
                1 => _mm512_mask_storeu_ps(target, lanes, vector),
                _ => {
                    let offsets = _mm512_loadu_si512(offsets.as_ptr().cast());
                    _mm512_mask_i32scatter_ps::<4>(target.cast(), lanes, offsets, vector);
                }
            }
        }
    }
}
