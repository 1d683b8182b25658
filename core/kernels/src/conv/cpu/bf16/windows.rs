//! Windows of images, rounded to bfloat16 and laid out as tiles read them.

use std::{
    arch::x86_64::{
        __m512, __mmask16, __mmask32, _mm512_loadu_si512, _mm512_mask_i32gather_ps, _mm512_mask_storeu_epi16,
        _mm512_mask_storeu_epi32, _mm512_maskz_loadu_ps, _mm512_setzero_ps,
    },
    array,
};

use super::{
    rounding::{round, round_to_pairs, transpose},
    tiles::{DEPTH, SIDE, Unit},
};

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
    /// For each tap and vector of windows, the lanes that are inside the image.
    inside: Vec<__mmask16>,
    /// Offset of each lane's pixel.
    offsets: [i32; SIDE],
}

/// Returns the mask of a vector's first `count` lanes, at least one.
fn lanes(count: usize) -> __mmask16 {
    __mmask16::MAX >> (SIDE - count)
}

impl Reader {
    /// Creates a reader. The unit shows that the processor has the vectors for it.
    pub fn new(_: Unit, windows: Windows) -> Self {
        let Windows { width, count, stride, taps, first, .. } = windows;
        let vectors = count.div_ceil(SIDE);
        let is_inside = |tap: usize, window: usize| {
            let pixel = first + (window * stride + tap) as isize;
            window < count && (0..width as isize).contains(&pixel)
        };
        let mask = |tap, vector| {
            (0..SIDE).fold(0, |mask, lane| mask | __mmask16::from(is_inside(tap, vector * SIDE + lane)) << lane)
        };
        let inside = (0..taps).flat_map(|tap| (0..vectors).map(move |vector| mask(tap, vector))).collect();
        Self { windows, inside, offsets: array::from_fn(|lane| (lane * stride) as i32) }
    }

    /// Reads a tap of a vector of windows, given the first pixel of its row; zeros if there is none.
    ///
    /// # Safety
    /// The row has `width` pixels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn read(&self, value: Option<(usize, *const f32)>, vector: usize) -> __m512 {
        let Some((tap, row)) = value else { return _mm512_setzero_ps() };
        let Windows { count, stride, first, .. } = self.windows;
        let inside = self.inside[tap * count.div_ceil(SIDE) + vector];
        let pixels = row.wrapping_offset(first + (vector * SIDE * stride + tap) as isize);
        // SAFETY: only pixels of the row are read.
        unsafe {
            if stride == 1 {
                return _mm512_maskz_loadu_ps(inside, pixels);
            }
            let offsets = _mm512_loadu_si512(self.offsets.as_ptr().cast());
            _mm512_mask_i32gather_ps::<4>(_mm512_setzero_ps(), inside, offsets, pixels.cast())
        }
    }

    /// Returns the first pixel of the row, of every channel's, in an image; `None` if there is no such row.
    fn row<'a>(&self, image: &'a [f32], row: isize) -> Option<impl Fn(usize) -> *const f32 + 'a> {
        let Windows { channels, height, width, .. } = self.windows;
        let row = usize::try_from(row).ok().filter(|row| *row < height)?;
        assert!(channels * height * width <= image.len(), "every row is inside the image");
        Some(move |channel: usize| image[(channel * height + row) * width..].as_ptr())
    }

    /// Fills the right tiles of a product over values with what a row of pixels contributes: `[pair of values, window,
    /// value of the pair]`.
    pub fn fill_pairs<'a>(&self, images: impl Iterator<Item = &'a [f32]>, row: isize, target: &mut [u32]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        fn fill<'a>(this: &Reader, images: impl Iterator<Item = &'a [f32]>, row: isize, target: &mut [u32]) {
            let windows @ Windows { channels, count, taps, .. } = this.windows;
            for (number, image) in images.enumerate() {
                let Some(pixels) = this.row(image, row) else { return target.fill(0) };
                let (mut tap, mut channel) = (0, 0);
                let mut next = || {
                    let value = (tap < taps).then(|| (tap, pixels(channel)));
                    (tap, channel) = if channel + 1 < channels { (tap, channel + 1) } else { (tap + 1, 0) };
                    value
                };
                for target in target.chunks_exact_mut(windows.length()) {
                    let (first, second) = (next(), next());
                    let target = &mut target[number * count..][..count];
                    for (vector, target) in target.chunks_mut(SIDE).enumerate() {
                        // SAFETY: the pointers are to rows; what is written is inside the target.
                        unsafe {
                            let pairs = round_to_pairs(this.read(first, vector), this.read(second, vector));
                            _mm512_mask_storeu_epi32(target.as_mut_ptr().cast(), lanes(target.len()), pairs);
                        }
                    }
                }
            }
        }
        let size = self.windows.values().div_ceil(2) * self.windows.length();
        // SAFETY: there is a unit.
        unsafe { fill(self, images, row, &mut target[..size]) }
    }

    /// Fills the left tiles of a product over windows with what a row of pixels contributes: `[value, window]`. Windows
    /// of images that are missing are zero.
    pub fn fill_rows<'a>(&self, images: impl ExactSizeIterator<Item = &'a [f32]>, row: isize, target: &mut [u16]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        fn fill<'a>(this: &Reader, images: impl Iterator<Item = &'a [f32]>, row: isize, target: &mut [u16]) {
            let windows @ Windows { channels, count, .. } = this.windows;
            for (number, image) in images.enumerate() {
                let Some(pixels) = this.row(image, row) else { return target.fill(0) };
                for (place, target) in target.chunks_exact_mut(windows.length()).enumerate() {
                    let value = Some((place / channels, pixels(place % channels)));
                    let target = &mut target[number * count..][..count];
                    for (number, target) in target.chunks_mut(DEPTH).enumerate() {
                        let is_long = target.len() > SIDE;
                        let written = __mmask32::MAX >> (DEPTH - target.len());
                        // SAFETY: the pointer is to a row; what is written is inside the target.
                        unsafe {
                            let first = this.read(value, 2 * number);
                            let second = this.read(value.filter(|_| is_long), 2 * number + 1);
                            _mm512_mask_storeu_epi16(target.as_mut_ptr().cast(), written, round(first, second));
                        }
                    }
                }
            }
        }
        let (windows, count) = (self.windows, images.len());
        let target = &mut target[..windows.values() * windows.length()];
        // SAFETY: there is a unit.
        unsafe { fill(self, images, row, target) }
        if count < windows.images {
            target.chunks_exact_mut(windows.length()).for_each(|value| value[count * windows.count..].fill(0));
        }
    }

    /// Fills the right tiles of a product over windows: `[pair of windows, value, window of the pair]`. `rows` is
    /// memory for [`fill_rows`](Self::fill_rows).
    pub fn fill_transposed<'a>(
        &self,
        images: impl ExactSizeIterator<Item = &'a [f32]>,
        row: isize,
        rows: &mut [u16],
        target: &mut [u32],
    ) {
        self.fill_rows(images, row, rows);
        // SAFETY: there is a unit.
        unsafe { transpose(rows, self.windows.length(), target) }
    }
}
