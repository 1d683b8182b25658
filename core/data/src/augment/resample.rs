//! Resampling of an image's rectangle, as Pillow does it.

use std::ops::Range;

use crate::image::Image;

/// The filter of one axis of a resampling: for every output position a range of source positions and their weights.
#[derive(Debug, Default)]
pub struct Taps {
    /// First source position and number of positions, for every output position.
    spans: Vec<(usize, usize)>,
    /// The weights of all spans, concatenated; those of a span sum to one.
    weights: Vec<f32>,
}

impl Taps {
    /// Resizes the range `source` to `resized` positions and keeps the `window` of those. In a reduced image the range
    /// may begin and end within a pixel.
    ///
    /// The filter is Pillow's antialiased bilinear one: a triangle as wide as two output positions, but no narrower
    /// than two source positions, cut off at the ends of the pixels of `source`.
    pub fn set(&mut self, source: Range<f64>, resized: u64, window: Range<u64>) {
        self.spans.clear();
        self.weights.clear();
        let scale = (source.end - source.start) / resized as f64;
        let support = scale.max(1.0);
        // Positions count from the first pixel.
        let first_pixel = source.start.floor();
        let start = source.start - first_pixel;
        let pixels = (source.end - first_pixel).ceil() as usize;
        for position in window {
            let centre = start + (position as f64 + 0.5) * scale;
            // The casts saturate at 0, where the first span begins.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(pixels);
            let weight = |at: usize| 1.0 - ((at as f64 + 0.5 - centre) / support).abs().min(1.0);
            let sum: f64 = (first..end).map(weight).sum();
            self.spans.push((first_pixel as usize + first, end - first));
            self.weights.extend((first..end).map(|at| (weight(at) / sum) as f32));
        }
    }

    /// Iterates over first source position and weights, for every output position.
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let mut rest = self.weights.as_slice();
        self.spans.iter().map(move |&(first, count)| {
            let (weights, after) = rest.split_at(count);
            rest = after;
            (first, weights)
        })
    }

    /// Returns the range of source positions that are read.
    #[inline(always)]
    fn extent(&self) -> Range<usize> {
        let (first, _) = self.spans.first().copied().unwrap_or_default();
        let (last, count) = self.spans.last().copied().unwrap_or_default();
        first..last + count
    }
}

/// Separable resampling of an image's rectangle.
///
/// One output row at a time: the source rows are blended into one, whose pixels are then gathered into the planes. So
/// the intermediate image is a single row that stays in the cache, and the blend runs over contiguous memory.
#[derive(Debug, Default)]
pub struct Resampler {
    pub columns: Taps,
    pub rows: Taps,
    /// The blended row: RGB pixels of the columns' extent, and one more value, so that four can be read at any pixel.
    row: Vec<f32>,
}

/// Values of a row that are blended at a time, in registers.
const LANES: usize = 32;

impl Resampler {
    /// Passes each pixel of the output of `columns` and `rows` to `write`: its place, row by row, and its colour, with
    /// values in `[0, 1]`.
    #[inline(always)]
    pub fn run(&mut self, image: &Image, mirrored: bool, mut write: impl FnMut(usize, [f32; 3])) {
        let extent = self.columns.extent();
        let width = self.columns.spans.len();
        self.row.resize(3 * extent.len() + 1, 0.0);
        for (y, (first, weights)) in self.rows.iter().enumerate() {
            let start = 3 * (first * image.width + extent.start);
            blend_rows(&mut self.row[..3 * extent.len()], &image.pixels[start..], 3 * image.width, weights);
            for (x, (first, weights)) in self.columns.iter().enumerate() {
                let x = if mirrored { width - 1 - x } else { x };
                let [red, green, blue, _] = blend_pixels(&self.row[3 * (first - extent.start)..], weights);
                write(y * width + x, [red, green, blue]);
            }
        }
    }
}

/// Computes the weighted sum of one row of bytes per weight, `stride` apart, in units of full intensity.
#[inline(always)]
fn blend_rows(out: &mut [f32], source: &[u8], stride: usize, weights: &[f32]) {
    let (chunks, rest) = out.as_chunks_mut::<LANES>();
    let whole = chunks.len() * LANES;
    for (at, out) in (0..).step_by(LANES).zip(chunks) {
        let mut sums = [0.0; LANES];
        for (row, weight) in weights.iter().enumerate() {
            add_row(&mut sums, &source[row * stride + at..][..LANES], *weight);
        }
        *out = sums;
    }
    rest.fill(0.0);
    for (row, weight) in weights.iter().enumerate() {
        add_row(rest, &source[row * stride + whole..][..rest.len()], *weight);
    }
}

#[inline(always)]
fn add_row(sums: &mut [f32], row: &[u8], weight: f32) {
    let weight = weight / 255.0;
    for (sum, &value) in sums.iter_mut().zip(row) {
        *sum += weight * f32::from(value);
    }
}

/// Computes the weighted sum of one RGB pixel per weight. Four values at a time make a vector; the last is unused.
#[inline(always)]
fn blend_pixels(row: &[f32], weights: &[f32]) -> [f32; 4] {
    let mut sums = [0.0; 4];
    for (pixel, weight) in weights.iter().enumerate() {
        for (sum, value) in sums.iter_mut().zip(&row[3 * pixel..][..4]) {
            *sum += weight * value;
        }
    }
    sums
}
