//! Convolution on the CPU, forward and backward, by vectors of pixels.
//!
//! No patches are laid out: an image is copied once to a [`Canvas`] with a margin of zeros, where what a tap of the
//! kernel sees of consecutive pixels is consecutive too. A [`Stencil`] then sums over the taps for four channels and
//! six vectors of pixels at a time, which stay in registers; so any number of channels will do. The weight's gradient
//! is a table of dot products over the same canvas. Sums run in one order whatever the number of threads, so a run
//! repeats.

use std::{array, mem::MaybeUninit, ops::Range};

use burn::backend::flex::FlexTensor;
use pulp::{Arch, Simd, WithSimd};

use crate::cpu::{copy, copy_rows, par_collect_uninit, tensor, values, vectorised};
use crate::threads::{for_each_chunk, threads};

/// Channels that are summed at once; a depthwise convolution has but one.
const ROWS: usize = 4;

/// Vectors of pixels that are summed at once, at most: with [`ROWS`] they fill the registers there are.
const fn most_vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MOST_VECTORS } else { MOST_VECTORS / 2 }
}
const MOST_VECTORS: usize = 6;

/// Values of a vector.
const fn lanes<S: Simd>() -> usize {
    size_of::<S::f32s>() / size_of::<f32>()
}
const MOST_LANES: usize = 16;

/// Values beyond its last pixel that a canvas must have, since whole vectors are read.
const SLACK: usize = MOST_VECTORS * MOST_LANES;

/// Values of a canvas that stay in a core's first cache while all channels are summed.
const NEAR: usize = 6 << 10;

/// Values, of either side, whose dot products are taken in one go: they stay in a core's second cache.
const FAR: usize = 1 << 16;

/// Parts of a batch that a weight's gradient is summed over apart, at most: enough for the cores, and always as many, so
/// that the sum does not depend on the number of threads.
const PARTS: usize = 16;

/// Vectors of a dot product that are worth adding up its lanes.
const LONG: usize = 64;

/// Sizes of a convolution. Inputs and outputs are those of one group of channels, which sees nothing of the others.
#[derive(Clone, Copy)]
struct Geometry {
    batch: usize,
    groups: usize,
    inputs: usize,
    outputs: usize,
    height: usize,
    width: usize,
    kernel: usize,
    stride: usize,
    out_height: usize,
    out_width: usize,
}

impl Geometry {
    fn of(x: &FlexTensor, weight: &FlexTensor, stride: usize) -> Self {
        let [batch, channels, height, width] = x.layout().shape().dims();
        let [out_channels, inputs, kernel, _] = weight.layout().shape().dims();
        let groups = channels / inputs;
        let outputs = out_channels / groups;
        assert_eq!([groups * inputs, groups * outputs], [channels, out_channels], "channels divide into groups");
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        Self { batch, groups, inputs, outputs, height, width, kernel, stride, out_height, out_width }
    }

    /// Values of one group of an image.
    fn input_size(&self) -> usize {
        self.inputs * self.plane()
    }

    fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Values of one group of an output.
    fn output_size(&self) -> usize {
        self.outputs * self.out_plane()
    }

    fn out_plane(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Values of a group that one pixel of the output sees.
    fn patch(&self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    fn padding(&self) -> usize {
        self.kernel / 2
    }

    /// Whether a pixel sees itself alone, so that no canvas is needed.
    fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    /// The input as the forward pass and the weight's gradient see it.
    fn input_canvas(&self) -> Canvas {
        // Without a stride, the margin on the right of a row is that on the left of the next.
        let shared = if self.stride == 1 { self.padding() } else { 0 };
        let reach = (self.kernel - 1) / self.stride;
        Canvas {
            height: self.height,
            width: self.width,
            step: self.stride,
            phases: self.stride.min(self.kernel),
            margin: self.padding(),
            pitch: self.out_width + reach - shared,
            rows: self.out_height + reach,
        }
    }

    /// Where each value of a patch lies in the [`input_canvas`](Self::input_canvas), seen from the output's pixel.
    fn patch_offsets(&self) -> Vec<usize> {
        let canvas = self.input_canvas();
        let taps = (0..self.inputs).flat_map(|i| (0..self.kernel).map(move |y| (i, y)));
        taps.flat_map(|(input, y)| (0..self.kernel).map(move |x| (input, y, x)))
            .map(|(input, y, x)| {
                let phase = y % self.stride * canvas.phases + x % self.stride;
                let pixel = y / self.stride * canvas.pitch + x / self.stride;
                input * canvas.channel() + phase * canvas.plane() + pixel
            })
            .collect()
    }

    /// The output's gradient as the input's sees it.
    fn gradient_canvas(&self) -> Canvas {
        let (before, after) = (self.padding() / self.stride, self.padding().div_ceil(self.stride));
        Canvas {
            height: self.out_height,
            width: self.out_width,
            step: 1,
            phases: 1,
            margin: before,
            pitch: self.out_width + before.max(after),
            rows: self.out_height + before + after,
        }
    }

    /// The taps of the kernel, along one axis, through which every `stride`-th pixel from `phase` on is seen; with the
    /// place, in the [`gradient_canvas`](Self::gradient_canvas), of the first pixel that sees it so.
    fn taps_of(&self, phase: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
        let (stride, kernel, padding) = (self.stride, self.kernel, self.padding());
        // A multiple of the stride is added, and taken away again, to stay above zero.
        let margin = padding / stride;
        (0..kernel)
            .map(move |tap| (tap, phase + padding + stride * kernel - tap))
            .filter(move |(_, distance)| distance.is_multiple_of(stride))
            .map(move |(tap, distance)| (tap, distance / stride + margin - kernel))
    }
}

/// Planes of an image with a margin of zeros: of each channel `phases * phases`, with every `step`-th pixel of every
/// `step`-th row from another first one on.
#[derive(Clone, Copy)]
struct Canvas {
    /// The image's.
    height: usize,
    width: usize,
    step: usize,
    phases: usize,
    /// Zeros before the image's first pixel and above its first row.
    margin: usize,
    /// Values from one row of a plane to the next.
    pitch: usize,
    rows: usize,
}

impl Canvas {
    fn plane(&self) -> usize {
        self.rows * self.pitch
    }

    fn channel(&self) -> usize {
        self.phases * self.phases * self.plane()
    }

    /// Zeros for so many channels.
    fn blank(&self, channels: usize) -> Vec<f32> {
        vec![0.0; channels * self.channel() + self.pitch + SLACK]
    }

    /// Copies `image` to `target`, whose margins are zero, or were made so by [`blank`](Self::blank).
    fn lay(&self, image: &[f32], target: &mut [f32]) {
        let Self { height, width, step, phases, margin, pitch, .. } = *self;
        for (image, target) in image.chunks_exact(height * width).zip(target.chunks_exact_mut(self.channel())) {
            if step == 1 {
                copy_rows(image, width, &mut target[margin * pitch + margin..], pitch);
                continue;
            }
            for (phase, target) in target.chunks_exact_mut(self.plane()).enumerate() {
                let (down, right) = (phase / phases, phase % phases);
                // The first pixel of a row that the plane has, and where.
                let first = margin.saturating_sub(right).div_ceil(step);
                let pixel = first * step + right - margin;
                for (row, target) in target.chunks_exact_mut(pitch).enumerate() {
                    let y = (row * step + down).wrapping_sub(margin);
                    if y < height && pixel < width {
                        let source = image[y * width + pixel..(y + 1) * width].iter().step_by(step);
                        target[first..].iter_mut().zip(source).for_each(|(target, source)| *target = *source);
                    }
                }
            }
        }
    }
}

/// How far apart the values of a weight lie along each axis; it may be a slice of a larger one.
fn strides(weight: &FlexTensor) -> [usize; 4] {
    array::from_fn(|axis| weight.layout().strides()[axis].try_into().expect("slices run forwards"))
}

/// Where the value at `place` lies.
fn at(place: [usize; 4], strides: [usize; 4]) -> usize {
    place.iter().zip(strides).map(|(place, stride)| place * stride).sum()
}

/// Sums over taps: `sums[row][pixel] = Σ weight[row][tap] * canvas[offset[tap] + pixel]`.
struct Stencil {
    rows: usize,
    offsets: Vec<usize>,
    /// By groups of channels, ranges of near taps, blocks of rows, taps and rows of the block; zero where there are fewer.
    weights: Vec<f32>,
    /// Rows of a block.
    block: usize,
    /// Taps whose values stay in a core's first cache.
    near: usize,
}

impl Stencil {
    /// For `groups` with as many rows each. `places` are those of the taps' values for the first row of `weight`, perhaps
    /// a slice of a larger tensor, and `strides` lead to the next group's and the next row's. `reach` is how many values
    /// of a canvas' plane are seen from one pixel, in so many `taps` of it.
    fn new(
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
            // In the order in which the weight lies in memory.
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
        // SAFETY: what has no weight is filled with zeros before.
        let weights = unsafe { par_collect_uninit(groups * ranges * blocks * size, size.max(1), || (), pack) };
        Self { rows, offsets, weights, block, near }
    }

    /// Whether no tap sees anything, so that all sums are zero.
    fn is_blind(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The ranges of near taps, with their weights in one group.
    fn ranges(&self, group: usize) -> impl Iterator<Item = (Range<usize>, &[f32])> {
        let taps = self.offsets.len();
        let size = self.rows.next_multiple_of(self.block) * self.near;
        let ranges = (0..taps).step_by(self.near).map(move |first| first..(first + self.near).min(taps));
        ranges.zip(self.weights.chunks_exact(size).skip(group * taps.div_ceil(self.near)))
    }
}

/// Writes the rows' values side by side, place by place.
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

/// The pixels that are summed for, as the canvas has them.
#[derive(Clone, Copy)]
struct Extent {
    height: usize,
    width: usize,
    pitch: usize,
}

/// Where sums go: pixels and rows of pixels may be some apart.
#[derive(Clone, Copy)]
struct Target {
    first: usize,
    step: usize,
    pitch: usize,
    plane: usize,
}

/// Memory that is used again and again.
#[derive(Default)]
struct Scratch {
    canvas: Vec<f32>,
    /// Sums of consecutive pixels of a canvas, for all channels.
    line: Vec<MaybeUninit<f32>>,
    /// The pixels of some taps that lie a plane apart, in one run of memory, and where each tap's begin.
    taps: Vec<f32>,
    gathered: Vec<usize>,
}

/// A stencil over one image.
struct Sweep<'a> {
    stencil: &'a Stencil,
    group: usize,
    /// The image itself, if the stencil has one tap a channel; else its canvas is in the scratch memory.
    pointwise: Option<&'a [f32]>,
    extent: Extent,
    scratch: &'a mut Scratch,
    output: &'a mut [MaybeUninit<f32>],
    target: Target,
}

impl WithSimd for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { stencil, extent, target, .. } = self;
        let lanes = lanes::<S>();
        // Rows of whole vectors are summed where they belong; others as one line, with what lies between them.
        let in_place = target.step == 1 && extent.width.is_multiple_of(lanes);
        let (width, pitch) = (extent.width, if in_place { extent.width } else { extent.pitch });
        let length = (extent.height - 1) * pitch + width;
        let all = length.div_ceil(lanes);
        let tiles = all.div_ceil(most_vectors::<S>());
        let Scratch { canvas, line, taps, gathered } = self.scratch;
        for number in 0..tiles {
            let (first, end) = (number * all / tiles * lanes, (number + 1) * all / tiles * lanes);
            let pixels = first..end.min(length);
            // The pixels' places in the canvas, and where their sums go.
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
                let (goes_on, sums) = (some.start > 0, &mut *sums);
                Tile { stencil, weights, goes_on, source, offsets, starts, sums, places, apart }.run(simd);
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

/// Sums of a few vectors of pixels, for all rows of a stencil.
struct Tile<'a> {
    stencil: &'a Stencil,
    weights: &'a [f32],
    /// Whether the sums go on from those over earlier taps.
    goes_on: bool,
    source: &'a [f32],
    /// Where the source has each of these taps, seen from a pixel.
    offsets: &'a [usize],
    /// Where it has each vector's first pixel.
    starts: &'a [usize],
    sums: &'a mut [MaybeUninit<f32>],
    /// Where the first row's sums of each vector go, and how far apart the rows are.
    places: &'a [usize],
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
        let Self { stencil, weights, goes_on, source, offsets, sums, apart, .. } = self;
        let [starts, places]: [[usize; N]; 2] = [self.starts, self.places].map(|of| array::from_fn(|n| of[n]));
        let rows = stencil.rows;
        let furthest = |places: &[usize]| places.iter().max().map_or(0, |place| place + lanes::<S>());
        let furthest_tap = offsets.iter().max().map_or(0, |offset| offset + furthest(&starts));
        assert!(furthest_tap <= source.len(), "all taps see the canvas");
        assert!((rows - 1) * apart + furthest(&places) <= sums.len(), "all sums have a place");
        let (source, sums) = (starts.map(|start| source[start..].as_ptr()), sums.as_mut_ptr());
        for (first, weights) in (0..rows).step_by(R).zip(weights.chunks_exact(R * stencil.near)) {
            let here = R.min(rows - first);
            let place = |row: usize, n: usize| (first + row) * apart + places[n];
            let mut totals = [[simd.splat_f32s(0.0); N]; R];
            if goes_on {
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
                        // In one operation only where the processor has one: emulated, it takes a hundred.
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

/// See [`conv`](crate::conv::conv).
pub fn forward(x: &FlexTensor, weight: &FlexTensor, stride: usize) -> FlexTensor {
    let shape = Geometry::of(x, weight, stride);
    let x = x.to_contiguous();
    let x = values(&x);
    let canvas = shape.input_canvas();
    let taps = shape.kernel * shape.kernel;
    let reach = (shape.kernel - 1) * canvas.pitch;
    let [groups, outputs] = [shape.groups, shape.outputs];
    let strides = strides(weight);
    let places: Vec<usize> = (0..shape.inputs)
        .flat_map(|input| (0..taps).map(move |tap| [0, input, tap / shape.kernel, tap % shape.kernel]))
        .map(|place| at(place, strides))
        .collect();
    let rows = [outputs * strides[0], strides[0]];
    let stencil = Stencil::new([groups, outputs], shape.patch_offsets(), (reach, taps), weight, &places, rows);
    let extent = match shape.is_pointwise() {
        true => Extent { height: 1, width: shape.out_plane(), pitch: shape.out_plane() },
        false => Extent { height: shape.out_height, width: shape.out_width, pitch: canvas.pitch },
    };
    let target = Target { first: 0, step: 1, pitch: extent.width, plane: shape.out_plane() };
    let blank = || Scratch {
        canvas: if shape.is_pointwise() { Vec::new() } else { canvas.blank(shape.inputs) },
        ..Scratch::default()
    };
    let sweep = |scratch: &mut Scratch, number: usize, output: &mut [MaybeUninit<f32>]| {
        let image = &x[number * shape.input_size()..][..shape.input_size()];
        let pointwise = shape.is_pointwise().then_some(image);
        if pointwise.is_none() {
            canvas.lay(image, &mut scratch.canvas);
        }
        let group = number % groups;
        Arch::new().dispatch(Sweep { stencil: &stencil, group, pointwise, extent, scratch, output, target });
    };
    // SAFETY: the extent is all of the output.
    let output =
        unsafe { par_collect_uninit(shape.batch * groups * shape.output_size(), shape.output_size(), blank, sweep) };
    tensor(output, [shape.batch, groups * outputs, shape.out_height, shape.out_width])
}

/// The gradient of the input, `x`, of which only the shape is looked at.
///
/// Of every `stride`-th pixel the same taps are seen, so for each such phase along both axes there is a stencil.
pub fn input_gradient(x: &FlexTensor, weight: &FlexTensor, gradient: &FlexTensor, stride: usize) -> FlexTensor {
    let shape = Geometry::of(x, weight, stride);
    let gradient = gradient.to_contiguous();
    let gradient = values(&gradient);
    let strides = strides(weight);
    let canvas = shape.gradient_canvas();
    let [groups, outputs] = [shape.groups, shape.outputs];
    let plane = shape.plane();
    let phases = (0..stride.min(shape.height)).flat_map(|y| (0..stride.min(shape.width)).map(move |x| (y, x)));
    let phases: Vec<(Stencil, Extent, Target)> = phases
        .map(|(y, x)| {
            let taps: Vec<_> = shape.taps_of(y).flat_map(|y| shape.taps_of(x).map(move |x| (y, x))).collect();
            let offset = |output: usize| {
                taps.iter().map(move |((_, down), (_, right))| output * canvas.plane() + down * canvas.pitch + right)
            };
            let offsets = (0..outputs).flat_map(offset).collect();
            let reach = (shape.kernel - 1) / stride * canvas.pitch;
            let place = |output: usize| taps.iter().map(move |((y, _), (x, _))| at([output, 0, *y, *x], strides));
            let places: Vec<usize> = (0..outputs).flat_map(place).collect();
            let rows = [outputs * strides[0], strides[1]];
            let stencil = Stencil::new([groups, shape.inputs], offsets, (reach, taps.len()), weight, &places, rows);
            if shape.is_pointwise() {
                let extent = Extent { height: 1, width: plane, pitch: plane };
                return (stencil, extent, Target { first: 0, step: 1, pitch: plane, plane });
            }
            let [height, width] = [shape.height - y, shape.width - x].map(|pixels| pixels.div_ceil(stride));
            let target = Target { first: y * shape.width + x, step: stride, pitch: stride * shape.width, plane };
            (stencil, Extent { height, width, pitch: canvas.pitch }, target)
        })
        .collect();
    let some_blind = phases.iter().any(|(stencil, ..)| stencil.is_blind());
    let blank = || Scratch {
        canvas: if shape.is_pointwise() { Vec::new() } else { canvas.blank(outputs) },
        ..Scratch::default()
    };
    let sweep = |scratch: &mut Scratch, number: usize, x_gradient: &mut [MaybeUninit<f32>]| {
        if some_blind {
            x_gradient.fill(MaybeUninit::new(0.0));
        }
        let image = &gradient[number * shape.output_size()..][..shape.output_size()];
        let pointwise = shape.is_pointwise().then_some(image);
        if pointwise.is_none() {
            canvas.lay(image, &mut scratch.canvas);
        }
        for &(ref stencil, extent, target) in phases.iter().filter(|(stencil, ..)| !stencil.is_blind()) {
            let (group, output) = (number % groups, &mut *x_gradient);
            Arch::new().dispatch(Sweep { stencil, group, pointwise, extent, scratch, output, target });
        }
    };
    // SAFETY: the phases' extents are all of the input; of a blind one there are zeros.
    let x_gradient =
        unsafe { par_collect_uninit(shape.batch * groups * shape.input_size(), shape.input_size(), blank, sweep) };
    tensor(x_gradient, [shape.batch, groups * shape.inputs, shape.height, shape.width])
}

/// The gradient of the weight, of which only the shape is looked at.
///
/// Parts of the batch and of the output's channels are summed apart, each over its own canvases.
pub fn weight_gradient(x: &FlexTensor, weight: &FlexTensor, gradient: &FlexTensor, stride: usize) -> FlexTensor {
    let shape = Geometry::of(x, weight, stride);
    let [x, gradient] = [x, gradient].map(FlexTensor::to_contiguous);
    let (x, gradient) = (values(&x), values(&gradient));
    let Geometry { batch, groups, inputs, outputs, .. } = shape;
    let (canvas, offsets) = (shape.input_canvas(), shape.patch_offsets());
    let taps = shape.kernel * shape.kernel;
    // The output's gradient with the input's pitch, zero where that has a margin.
    let plane = ((shape.out_height - 1) * canvas.pitch + shape.out_width).next_multiple_of(MOST_LANES);
    let parts = (batch * plane / MOST_LANES / LONG).clamp(1, PARTS.min(batch));
    // Each block lays the canvases anew, so there are no more than the threads call for.
    let rows = match groups {
        1 => (outputs * parts).div_ceil(2 * threads()).next_multiple_of(ROWS).min(outputs),
        _ => outputs,
    };
    let blocks = outputs.div_ceil(rows);
    let together = (LONG * MOST_LANES / plane).clamp(1, batch.div_ceil(parts));
    let some = (FAR / (together * canvas.channel())).clamp(1, inputs);
    let image = some * canvas.channel();
    let size = rows * shape.patch();
    let mut partial = vec![0.0; parts * groups * blocks * size];
    let blank = || (vec![0.0; together * image + canvas.pitch + SLACK], vec![0.0; together * rows * plane]);
    for_each_chunk(&mut partial, size, blank, |(right, left), task, target| {
        let (part, group, block) = (task / blocks / groups, task / blocks % groups, task % blocks);
        let rows = block * rows..((block + 1) * rows).min(outputs);
        let images = part * batch / parts..(part + 1) * batch / parts;
        for start in images.clone().step_by(together) {
            let images = start..(start + together).min(images.end);
            let numbers = || images.clone().map(|image| image * groups + group);
            for (place, number) in numbers().enumerate() {
                let gradient = &gradient[number * shape.output_size()..][..shape.output_size()];
                let planes = gradient.chunks_exact(shape.out_plane()).skip(rows.start).take(rows.len());
                for (row, source) in planes.enumerate() {
                    let target = &mut left[(place * rows.len() + row) * plane..][..plane];
                    copy_rows(source, shape.out_width, target, canvas.pitch);
                }
            }
            for first in (0..inputs).step_by(some) {
                let inputs = first..(first + some).min(inputs);
                let own = |number: usize| number * shape.input_size() + inputs.start * shape.plane();
                let end = own((images.end - 1) * groups + group) + inputs.len() * shape.plane();
                // Whole vectors are read, also at the end of the last plane: what is beyond it counts nothing.
                let (right, image) = if shape.is_pointwise() && end + MOST_LANES <= x.len() {
                    (&x[own(images.start * groups + group)..], groups * shape.input_size())
                } else {
                    for (target, number) in right.chunks_exact_mut(image).zip(numbers()) {
                        canvas.lay(&x[own(number)..][..inputs.len() * shape.plane()], target);
                    }
                    (&right[..], image)
                };
                let (rows, images) = (rows.len(), images.len());
                let offsets = &offsets[..inputs.len() * taps];
                let (target, apart) = (&mut target[inputs.start * taps..], shape.patch());
                Arch::new().dispatch(Dots { left, rows, plane, right, image, offsets, images, target, apart });
            }
        }
    });
    let (sum, others) = partial.split_at_mut(groups * blocks * size);
    for other in others.chunks_exact(sum.len()) {
        sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
    }
    // The last block of rows may have had fewer.
    partial.truncate(groups * outputs * shape.patch());
    tensor(partial, [groups * outputs, inputs, shape.kernel, shape.kernel])
}

/// Adds to `target[row][tap]`, of the first taps of a row, the dot products, over the pixels of all images, of a row of `left` with what the tap
/// sees of `right`.
struct Dots<'a> {
    /// By images, rows and pixels.
    left: &'a [f32],
    rows: usize,
    plane: usize,
    /// By images of so many values.
    right: &'a [f32],
    image: usize,
    offsets: &'a [usize],
    images: usize,
    target: &'a mut [f32],
    /// How far apart the target's rows are.
    apart: usize,
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        const HALF: usize = MOST_VECTORS / 2;
        match (self.rows, most_vectors::<S>()) {
            (1, _) => self.add::<S, 1, MOST_VECTORS>(simd),
            (_, MOST_VECTORS) => self.add::<S, ROWS, MOST_VECTORS>(simd),
            _ => self.add::<S, ROWS, HALF>(simd),
        }
    }
}

impl Dots<'_> {
    #[inline(always)]
    fn add<S: Simd, const R: usize, const N: usize>(self, simd: S) {
        let Self { left, rows, plane, right, image, offsets, images, target, apart } = self;
        let furthest = offsets.iter().max().map_or(0, |offset| offset + plane + (images - 1) * image);
        assert!(furthest <= right.len() && images * rows * plane <= left.len(), "all rows and taps are inside");
        let (left, right) = (left.as_ptr(), right.as_ptr());
        for (first_row, first_tap) in
            (0..rows).step_by(R).flat_map(|row| (0..offsets.len()).step_by(N).map(move |tap| (row, tap)))
        {
            // Beyond the last row and tap, these are computed once more and dropped.
            let row_places: [usize; R] = array::from_fn(|r| (first_row + r).min(rows - 1) * plane);
            let tap_places: [usize; N] = array::from_fn(|n| offsets[(first_tap + n).min(offsets.len() - 1)]);
            let mut sums = [[simd.splat_f32s(0.0); N]; R];
            for number in 0..images {
                for pixel in (0..plane).step_by(lanes::<S>()) {
                    // SAFETY: the assertion above keeps the last vector of every row and tap inside its slice; a plane
                    // is whole vectors.
                    let rows: [S::f32s; R] = array::from_fn(|r| unsafe {
                        left.add(number * rows * plane + row_places[r] + pixel).cast::<S::f32s>().read_unaligned()
                    });
                    for n in 0..N {
                        // SAFETY: as above.
                        let tap = unsafe {
                            right.add(number * image + tap_places[n] + pixel).cast::<S::f32s>().read_unaligned()
                        };
                        for r in 0..R {
                            sums[r][n] = simd.mul_add_e_f32s(rows[r], tap, sums[r][n]);
                        }
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate().take(rows - first_row) {
                let target = &mut target[(first_row + r) * apart + first_tap..];
                for (target, sum) in target.iter_mut().zip(sums).take(offsets.len() - first_tap) {
                    *target += simd.reduce_sum_f32s(*sum);
                }
            }
        }
    }
}
