//! Windows of images, laid out as tiles read them.

use std::arch::x86_64::{
    __m512i, __mmask16, __mmask32, _mm512_loadu_si512, _mm512_mask_storeu_epi16, _mm512_mask_storeu_epi32,
    _mm512_maskz_loadu_epi16, _mm512_permutex2var_epi16,
};

use burn::tensor::bf16;

use super::{
    product::{DEPTH, SIDE},
    rounding::transpose,
    tiles::Unit,
};

/// The windows of a batch of images, and the outputs that each of them has.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    pub batch: usize,
    /// A row of windows.
    pub windows: Windows,
    /// Rows of windows of an image.
    pub rows: usize,
    /// Taps of a window along a column.
    pub taps: usize,
    /// The row of pixels of the first tap of the first row of windows.
    pub first: isize,
    pub outputs: usize,
}

/// A row of windows of images side by side: what one row of their pixels contributes to them. Taps of a window are
/// neighbouring pixels.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    pub channels: usize,
    /// Height of an image.
    pub height: usize,
    /// Width of an image.
    pub width: usize,
    /// Windows of an image.
    pub count: usize,
    /// Pixels from one window to the next.
    pub stride: usize,
    /// Taps of a window.
    pub taps: usize,
    /// The pixel of the first tap of the first window; outside the image, pixels are zero.
    pub first: isize,
    /// Images side by side: few windows do not fill a tile.
    pub images: usize,
}

impl Windows {
    /// Returns how many of `batch` images with `count` windows each fill seven eighths of their tiles.
    pub fn images_together(count: usize, batch: usize) -> usize {
        let most = batch.min(DEPTH);
        let fill = |images: &usize| 8 * images * count >= 7 * (images * count).next_multiple_of(DEPTH);
        (1..=most).find(fill).unwrap_or(most)
    }

    /// Returns the values of a window: its taps, and for each the channels.
    pub fn values(&self) -> usize {
        self.taps * self.channels
    }

    /// Returns the windows of all images side by side, padded to whole tiles.
    pub fn length(&self) -> usize {
        (self.images * self.count).next_multiple_of(DEPTH)
    }
}

/// Reads windows.
pub struct Reader {
    windows: Windows,
    /// For each tap and vector of windows, the pixels inside the image: of each window, or, where these are two pixels
    /// apart, of each pixel from the vector's first on, none for every second one. One more tap has none.
    inside: Vec<u64>,
}

/// A value of the windows of a row: its pixels' masks, and the first window's pixel, which may be outside the image.
#[derive(Clone, Copy)]
struct Value<'a> {
    inside: &'a [u64],
    pixels: *const bf16,
}

/// The order in which two vectors of values are merged.
type Order = [u16; DEPTH];

/// Every second value of both, from the first on.
const EVEN: Order = order(0, 2, 0);
/// A value of each, for the first half of both, and for the second.
const PAIRS: [Order; 2] = [order(0, 0, 1), order(SIDE, 0, 1)];

/// Returns an order that takes every `step`-th value from `first` on, or, where `pairs` is 1, pairs of both vectors'.
const fn order(first: usize, step: usize, pairs: usize) -> Order {
    let mut order = [0; DEPTH];
    let mut place = 0;
    while place < DEPTH {
        order[place] = if pairs == 1 { first + place / 2 + place % 2 * DEPTH } else { first + place * step } as u16;
        place += 1;
    }
    order
}

/// Merges two vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn merge(first: __m512i, order: &Order, second: __m512i) -> __m512i {
    // SAFETY: an order is a vector.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    _mm512_permutex2var_epi16(first, order, second)
}

impl Reader {
    /// Creates a reader. The unit shows that the processor has the vectors for it.
    pub fn new(_: Unit, windows: Windows) -> Self {
        let Windows { width, count, stride, taps, first, .. } = windows;
        let is_inside = |tap: usize, window: usize| {
            let pixel = first + (window * stride + tap) as isize;
            tap < taps && window < count && (0..width as isize).contains(&pixel)
        };
        let apart = if stride == 2 { 2 } else { 1 };
        let bit = |tap, vector, lane| u64::from(is_inside(tap, vector * DEPTH + lane)) << (lane * apart);
        let mask = |tap, vector| (0..DEPTH).fold(0, |mask, lane| mask | bit(tap, vector, lane));
        let vectors = count.div_ceil(DEPTH);
        let inside = (0..=taps).flat_map(|tap| (0..vectors).map(move |vector| mask(tap, vector))).collect();
        Self { windows, inside }
    }

    /// Returns the values of the windows in a row of an image's pixels, in order, and then one without pixels; `None` if
    /// there is no such row.
    fn values<'a>(&'a self, image: &'a [bf16], row: isize) -> Option<impl FnMut() -> Value<'a>> {
        let Windows { channels, height, width, count, taps, first, .. } = self.windows;
        let row = usize::try_from(row).ok().filter(|row| *row < height)?;
        assert!(channels * height * width <= image.len(), "every row is inside the image");
        let start = image[row * width..].as_ptr().wrapping_offset(first);
        let vectors = count.div_ceil(DEPTH);
        let (mut tap, mut channel) = (0, 0);
        Some(move || {
            let inside = &self.inside[tap * vectors..][..vectors];
            let value = Value { inside, pixels: start.wrapping_add(channel * height * width + tap) };
            channel += 1;
            if channel == channels && tap < taps {
                (tap, channel) = (tap + 1, 0);
            }
            value
        })
    }

    /// Fills the right tiles of a product over values with what a row of pixels contributes: `[pair of values, window,
    /// value of the pair]`.
    pub fn fill_pairs<'a>(&self, images: impl Iterator<Item = &'a [bf16]>, row: isize, target: &mut [u32]) {
        let size = self.windows.values().div_ceil(2) * self.windows.length();
        let target = &mut target[..size];
        // SAFETY: there is a unit.
        unsafe {
            match self.windows.stride {
                1 => self.fill_pairs_by::<1>(images, row, target),
                2 => self.fill_pairs_by::<2>(images, row, target),
                _ => self.fill_pairs_by::<ANY>(images, row, target),
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn fill_pairs_by<'a, const STRIDE: usize>(
        &self,
        images: impl Iterator<Item = &'a [bf16]>,
        row: isize,
        target: &mut [u32],
    ) {
        let windows @ Windows { count, stride, .. } = self.windows;
        for (number, image) in images.enumerate() {
            let Some(mut next) = self.values(image, row) else { return target.fill(0) };
            for target in target.chunks_exact_mut(windows.length()) {
                let (first, second) = (next(), next());
                let target = &mut target[number * count..][..count];
                for (vector, target) in target.chunks_mut(DEPTH).enumerate() {
                    let lanes = lanes(target.len());
                    let target = target.as_mut_ptr();
                    // SAFETY: the values are those of a row; what is written is inside the target.
                    unsafe {
                        let first = first.read::<STRIDE>(vector, stride);
                        let second = second.read::<STRIDE>(vector, stride);
                        for (half, order) in PAIRS.iter().enumerate() {
                            let lanes = (lanes >> (half * SIDE)) as __mmask16;
                            let target = target.wrapping_add(half * SIDE).cast();
                            _mm512_mask_storeu_epi32(target, lanes, merge(first, order, second));
                        }
                    }
                }
            }
        }
    }

    /// Fills the left tiles of a product over windows with what a row of pixels contributes: `[value, window]`. Windows
    /// of images that are missing are zero.
    pub fn fill_rows<'a>(&self, images: impl ExactSizeIterator<Item = &'a [bf16]>, row: isize, target: &mut [u16]) {
        let (windows, count) = (self.windows, images.len());
        let target = &mut target[..windows.values() * windows.length()];
        // SAFETY: there is a unit.
        unsafe {
            match windows.stride {
                1 => self.fill_rows_by::<1>(images, row, target),
                2 => self.fill_rows_by::<2>(images, row, target),
                _ => self.fill_rows_by::<ANY>(images, row, target),
            }
        }
        if count < windows.images {
            target.chunks_exact_mut(windows.length()).for_each(|value| value[count * windows.count..].fill(0));
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn fill_rows_by<'a, const STRIDE: usize>(
        &self,
        images: impl Iterator<Item = &'a [bf16]>,
        row: isize,
        target: &mut [u16],
    ) {
        let windows @ Windows { count, stride, .. } = self.windows;
        for (number, image) in images.enumerate() {
            let Some(mut next) = self.values(image, row) else { return target.fill(0) };
            for target in target.chunks_exact_mut(windows.length()) {
                let value = next();
                let target = &mut target[number * count..][..count];
                for (vector, target) in target.chunks_mut(DEPTH).enumerate() {
                    // SAFETY: the value is one of a row; what is written is inside the target.
                    unsafe {
                        let pixels = value.read::<STRIDE>(vector, stride);
                        _mm512_mask_storeu_epi16(target.as_mut_ptr().cast(), lanes(target.len()), pixels);
                    }
                }
            }
        }
    }

    /// Fills the right tiles of a product over windows: `[pair of windows, value, window of the pair]`. `rows` is
    /// memory for [`fill_rows`](Self::fill_rows).
    pub fn fill_transposed<'a>(
        &self,
        images: impl ExactSizeIterator<Item = &'a [bf16]>,
        row: isize,
        rows: &mut [u16],
        target: &mut [u32],
    ) {
        self.fill_rows(images, row, rows);
        // SAFETY: there is a unit.
        unsafe { transpose(rows, self.windows.length(), target) }
    }
}

/// A stride that is not known when compiling.
const ANY: usize = 0;

/// Returns the mask of a vector's first `count` lanes, at least one.
fn lanes(count: usize) -> __mmask32 {
    __mmask32::MAX >> (DEPTH - count)
}

impl Value<'_> {
    /// Reads a vector of windows, `stride` pixels apart; zeros outside the image.
    ///
    /// # Safety
    /// The pixels inside the image are in memory; `STRIDE` is the stride, or [`ANY`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn read<const STRIDE: usize>(self, vector: usize, stride: usize) -> __m512i {
        let inside = self.inside[vector];
        let pixels = self.pixels.wrapping_add(vector * DEPTH * stride);
        // SAFETY: only pixels inside the image are read.
        unsafe {
            match STRIDE {
                1 => _mm512_maskz_loadu_epi16(inside as __mmask32, pixels.cast()),
                2 => {
                    let first = _mm512_maskz_loadu_epi16(inside as __mmask32, pixels.cast());
                    let pixels = pixels.wrapping_add(DEPTH).cast();
                    merge(first, &EVEN, _mm512_maskz_loadu_epi16((inside >> DEPTH) as __mmask32, pixels))
                }
                _ => {
                    let mut values = [bf16::ZERO; DEPTH];
                    for (lane, value) in values.iter_mut().enumerate().filter(|(lane, _)| inside >> lane & 1 == 1) {
                        *value = *pixels.wrapping_add(lane * stride);
                    }
                    _mm512_loadu_si512(values.as_ptr().cast())
                }
            }
        }
    }
}
