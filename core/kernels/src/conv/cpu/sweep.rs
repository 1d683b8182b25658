//! The sums of a stencil for all pixels of an image.

use std::{array, mem::MaybeUninit};

use pulp::{Simd, WithSimd};

use super::{
    copy::copy,
    stencil::Stencil,
    vectors::{MOST_VECTORS, ROWS, lanes, most_vectors},
};

/// The output pixels, as laid out in the canvas.
#[derive(Clone, Copy)]
pub struct Extent {
    pub height: usize,
    pub width: usize,
    pub pitch: usize,
}

/// Where sums are written: every `step`-th pixel from `first` on, in rows `pitch` apart and channels `plane` apart.
#[derive(Clone, Copy)]
pub struct Target {
    pub first: usize,
    pub step: usize,
    pub pitch: usize,
    pub plane: usize,
}

/// Memory that is reused.
#[derive(Default)]
pub struct Scratch {
    pub canvas: Vec<f32>,
    /// Sums for consecutive pixels of a canvas, for all channels.
    pub line: Vec<MaybeUninit<f32>>,
    /// Inputs of some taps, copied next to each other because their planes lie far apart.
    pub taps: Vec<f32>,
    /// Where each tap starts in `taps`.
    pub gathered: Vec<usize>,
}

/// Applies a stencil to one image.
pub struct Sweep<'a> {
    pub stencil: &'a Stencil,
    pub group: usize,
    /// The image itself, if the convolution is pointwise; otherwise its canvas is in the scratch memory.
    pub pointwise: Option<&'a [f32]>,
    pub extent: Extent,
    pub scratch: &'a mut Scratch,
    pub output: &'a mut [MaybeUninit<f32>],
    pub target: Target,
}

impl WithSimd for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { stencil, extent, target, .. } = self;
        let lanes = lanes::<S>();
        // Rows of whole vectors are written directly to the output; others are summed as one line, margins included.
        let in_place = target.step == 1 && extent.width.is_multiple_of(lanes);
        let (width, pitch) = (extent.width, if in_place { extent.width } else { extent.pitch });
        let length = (extent.height - 1) * pitch + width;
        let all = length.div_ceil(lanes);
        let tiles = all.div_ceil(most_vectors::<S>());
        let Scratch { canvas, line, taps, gathered } = self.scratch;
        for number in 0..tiles {
            let (first, end) = (number * all / tiles * lanes, (number + 1) * all / tiles * lanes);
            let pixels = first..end.min(length);
            // Where the vectors start in the canvas, and where their sums are written.
            let mut starts = [0; MOST_VECTORS];
            let mut places = [0; MOST_VECTORS];
            for (vector, pixel) in (first..end).step_by(lanes).enumerate() {
                let (row, column) = if in_place { (pixel / width, pixel % width) } else { (0, pixel) };
                starts[vector] = row * extent.pitch + column;
                places[vector] = if in_place { target.first + row * target.pitch + column } else { vector * lanes };
            }
            let vectors = (end - first) / lanes;
            let (sums, apart) = if in_place {
                (&mut *self.output, target.plane)
            } else {
                line.resize(stencil.rows * (end - first), MaybeUninit::new(0.0));
                (&mut line[..], end - first)
            };
            for (some, weights) in stencil.ranges(self.group) {
                let mut starts = starts;
                let (source, offsets) = match self.pointwise {
                    Some(image) => {
                        taps.resize(stencil.near * (end - first), 0.0);
                        gathered.clear();
                        for (tap, &offset) in stencil.offsets[some.clone()].iter().enumerate() {
                            let place = tap * (end - first);
                            copy(&image[offset..][pixels.clone()], &mut taps[place..]);
                            gathered.push(place);
                        }
                        starts = array::from_fn(|vector| vector * lanes);
                        (&taps[..], &gathered[..])
                    }
                    None => (&canvas[..], &stencil.offsets[some.clone()]),
                };
                let (starts, places) = (&starts[..vectors], &places[..vectors]);
                let (continues, sums) = (some.start > 0, &mut *sums);
                Tile { stencil, weights, continues, source, offsets, starts, sums, places, apart }.run(simd);
            }
            if in_place {
                continue;
            }
            for row in pixels.start / pitch..=(pixels.end - 1) / pitch {
                let left = row * pitch;
                let (from, to) = (left.max(pixels.start), (left + width).min(pixels.end));
                if from >= to {
                    continue;
                }
                let place = target.first + row * target.pitch + (from - left) * target.step;
                for (channel, sums) in line.chunks_exact(apart).enumerate() {
                    let sums = &sums[from - pixels.start..to - pixels.start];
                    let output = &mut self.output[channel * target.plane + place..];
                    if target.step == 1 {
                        copy(sums, output);
                    } else {
                        output.iter_mut().step_by(target.step).zip(sums).for_each(|(output, sum)| *output = *sum);
                    }
                }
            }
        }
    }
}

/// Computes the sums of a few vectors of pixels, for all rows of a stencil.
struct Tile<'a> {
    stencil: &'a Stencil,
    weights: &'a [f32],
    /// Whether to add to the sums over earlier taps.
    continues: bool,
    source: &'a [f32],
    /// Offset of each tap in the source, from a pixel's own place.
    offsets: &'a [usize],
    /// Where each vector's first pixel is in the source.
    starts: &'a [usize],
    sums: &'a mut [MaybeUninit<f32>],
    /// Where the first row's sums of each vector are written.
    places: &'a [usize],
    /// From one row's sums to the next.
    apart: usize,
}

impl Tile<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match (self.stencil.block, self.starts.len()) {
            (ROWS, 1) => self.sum::<S, ROWS, 1>(simd),
            (ROWS, 2) => self.sum::<S, ROWS, 2>(simd),
            (ROWS, 3) => self.sum::<S, ROWS, 3>(simd),
            (ROWS, 4) => self.sum::<S, ROWS, 4>(simd),
            (ROWS, 5) => self.sum::<S, ROWS, 5>(simd),
            (ROWS, MOST_VECTORS) => self.sum::<S, ROWS, MOST_VECTORS>(simd),
            (1, 1) => self.sum::<S, 1, 1>(simd),
            (1, 2) => self.sum::<S, 1, 2>(simd),
            (1, 3) => self.sum::<S, 1, 3>(simd),
            (1, 4) => self.sum::<S, 1, 4>(simd),
            (1, 5) => self.sum::<S, 1, 5>(simd),
            (1, MOST_VECTORS) => self.sum::<S, 1, MOST_VECTORS>(simd),
            _ => unreachable!("tiles have {ROWS} rows or one, and up to {MOST_VECTORS} vectors"),
        }
    }

    #[inline(always)]
    fn sum<S: Simd, const R: usize, const N: usize>(self, simd: S) {
        let Self { stencil, weights, continues, source, offsets, sums, apart, .. } = self;
        let [starts, places]: [[usize; N]; 2] = [self.starts, self.places].map(|of| array::from_fn(|n| of[n]));
        let rows = stencil.rows;
        let furthest = |places: &[usize]| places.iter().max().map_or(0, |place| place + lanes::<S>());
        let furthest_tap = offsets.iter().max().map_or(0, |offset| offset + furthest(&starts));
        assert!(furthest_tap <= source.len(), "every tap is inside the source");
        assert!((rows - 1) * apart + furthest(&places) <= sums.len(), "every sum is inside the target");
        let (source, sums) = (starts.map(|start| source[start..].as_ptr()), sums.as_mut_ptr());
        for (first, weights) in (0..rows).step_by(R).zip(weights.chunks_exact(R * stencil.near)) {
            let here = R.min(rows - first);
            let place = |row: usize, n: usize| (first + row) * apart + places[n];
            let mut totals = [[simd.splat_f32s(0.0); N]; R];
            if continues {
                for (row, totals) in totals.iter_mut().enumerate().take(here) {
                    // SAFETY: the second assertion keeps the vector inside, and it was written with the first taps.
                    *totals = array::from_fn(|n| unsafe { sums.add(place(row, n)).cast::<S::f32s>().read_unaligned() });
                }
            }
            for (weights, &offset) in weights.chunks_exact(R).zip(offsets) {
                // SAFETY: the first assertion keeps the last vector of the furthest tap inside the source.
                let pixels: [S::f32s; N] =
                    array::from_fn(|n| unsafe { source[n].add(offset).cast::<S::f32s>().read_unaligned() });
                for r in 0..R {
                    let weight = simd.splat_f32s(weights[r]);
                    for n in 0..N {
                        // Fused only where the processor can: the emulation takes a hundred instructions.
                        totals[r][n] = simd.mul_add_e_f32s(weight, pixels[n], totals[r][n]);
                    }
                }
            }
            for (row, totals) in totals.into_iter().enumerate().take(here) {
                for (n, total) in totals.into_iter().enumerate() {
                    // SAFETY: the second assertion keeps the vector inside.
                    unsafe { sums.add(place(row, n)).cast::<S::f32s>().write_unaligned(total) };
                }
            }
        }
    }
}
