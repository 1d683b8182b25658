//! Max pooling on the CPU, for activations in f32 and in bfloat16.

use std::{array, mem::MaybeUninit};

use burn::backend::{Flex, flex::FlexTensor, tensor::FloatTensor};

use super::{PoolBackend, PoolBackward, plain};
use crate::cpu::{Stored, by_type, par_collect_uninit, tensor, values, vectorised};

/// Size of a plane.
#[derive(Clone, Copy)]
struct Plane {
    height: usize,
    width: usize,
}

impl Plane {
    fn of(x: &FlexTensor) -> Self {
        let [.., height, width] = x.layout().shape().dims::<4>();
        Self { height, width }
    }

    fn size(self) -> usize {
        self.height * self.width
    }

    fn pooled(self) -> Self {
        Self { height: self.height.div_ceil(2), width: self.width.div_ceil(2) }
    }

    /// Returns buffers for the three input rows of a row of windows, for [`load`](Self::load).
    fn rows(self) -> [Row; 3] {
        array::from_fn(|_| Row::new(self.pooled().width, f32::NEG_INFINITY))
    }

    /// Copies the three rows of `plane` that the windows of output row `row` cover.
    #[inline(always)]
    fn load<T: Stored>(self, plane: &[T], row: usize, rows: &mut [Row; 3]) {
        for (y, target) in (2 * row..).zip(rows) {
            match y.checked_sub(1).filter(|y| *y < self.height) {
                Some(y) => target.read(&plane[y * self.width..][..self.width]),
                None => target.fill(f32::NEG_INFINITY),
            }
        }
    }
}

/// A row of pixels, split so that a pixel's place in its window of 3 is contiguous over windows, which are 2 apart.
struct Row {
    /// The first and last pixel of each window; at both ends of the row these may be padding.
    borders: Vec<f32>,
    /// The middle pixel of each window.
    middles: Vec<f32>,
}

impl Row {
    fn new(windows: usize, value: f32) -> Self {
        Self { borders: vec![value; windows + 1], middles: vec![value; windows] }
    }

    fn fill(&mut self, value: f32) {
        self.borders.fill(value);
        self.middles.fill(value);
    }

    #[inline(always)]
    fn read<T: Stored>(&mut self, pixels: &[T]) {
        let (pairs, last) = pixels.as_chunks::<2>();
        for ((pair, middle), border) in pairs.iter().zip(&mut self.middles).zip(&mut self.borders[1..]) {
            [*middle, *border] = pair.map(T::widen);
        }
        self.middles[pairs.len()..].iter_mut().zip(last).for_each(|(middle, last)| *middle = last.widen());
    }

    #[inline(always)]
    fn write<T: Stored>(&self, pixels: &mut [MaybeUninit<T>]) {
        let (pairs, last) = pixels.as_chunks_mut::<2>();
        let ends = &self.middles[pairs.len()..];
        for ((pair, middle), border) in pairs.iter_mut().zip(&self.middles).zip(&self.borders[1..]) {
            *pair = [*middle, *border].map(|sum| MaybeUninit::new(T::narrow(sum)));
        }
        last.iter_mut().zip(ends).for_each(|(last, end)| _ = last.write(T::narrow(*end)));
    }

    /// Replaces each pixel by that of the other row if that is larger.
    #[inline(always)]
    fn max_with(&mut self, other: &Self) {
        for (pixels, others) in [(&mut self.borders, &other.borders), (&mut self.middles, &other.middles)] {
            pixels.iter_mut().zip(others).for_each(|(pixel, other)| *pixel = larger(*pixel, *other));
        }
    }

    /// Returns the pixel of each window at one of its three places.
    #[inline(always)]
    fn at(&self, place: usize) -> &[f32] {
        if place == 1 { &self.middles } else { &self.borders[place / 2..][..self.middles.len()] }
    }

    #[inline(always)]
    fn at_mut(&mut self, place: usize) -> &mut [f32] {
        if place == 1 { &mut self.middles } else { &mut self.borders[place / 2..][..self.middles.len()] }
    }
}

/// Returns whether `value` replaces the largest so far. NaN does and stays, which shows that a run has diverged.
#[inline(always)]
fn exceeds(value: f32, largest: f32) -> bool {
    value > largest || value.is_nan()
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if exceeds(b, a) { b } else { a }
}

/// See [`max_pool`](crate::pool::max_pool).
fn forward<T: Stored>(x: &FlexTensor) -> FlexTensor {
    let [batch, channels, ..] = x.layout().shape().dims::<4>();
    let (plane, pooled) = (Plane::of(x), Plane::of(x).pooled());
    let x = x.to_contiguous();
    let x = values::<T>(&x);
    let pool = |rows: &mut [Row; 3], number: usize, output: &mut [MaybeUninit<T>]| {
        vectorised(
            #[inline(always)]
            || {
                let x = &x[number * plane.size()..][..plane.size()];
                for (row, output) in output.chunks_exact_mut(pooled.width).enumerate() {
                    plane.load(x, row, rows);
                    let [highest, others @ ..] = rows;
                    others.iter().for_each(|row| highest.max_with(row));
                    let windows = highest.at(0).iter().zip(highest.at(1)).zip(highest.at(2));
                    for (output, ((first, middle), last)) in output.iter_mut().zip(windows) {
                        output.write(T::narrow(larger(larger(*first, *middle), *last)));
                    }
                }
            },
        );
    };
    let count = batch * channels * pooled.size();
    // SAFETY: every pixel of every row is written.
    let output = unsafe { par_collect_uninit(count, pooled.size(), || plane.rows(), pool) };
    tensor(output, [batch, channels, pooled.height, pooled.width])
}

/// A row of windows, whose gradients go to their largest pixels.
struct Windows {
    rows: [Row; 3],
    /// Gradients of the rows' pixels.
    sums: [Row; 3],
    /// Each window's largest value.
    largest: Vec<f32>,
    /// Which of the nine places has it.
    places: Vec<u32>,
}

impl Windows {
    fn new(plane: Plane) -> Self {
        let windows = plane.pooled().width;
        Self { rows: plane.rows(), sums: plane.rows(), largest: vec![0.0; windows], places: vec![0; windows] }
    }

    #[inline(always)]
    fn find_largest(&mut self) {
        self.largest.fill(f32::NEG_INFINITY);
        self.places.fill(u32::MAX);
        for place in 0..9 {
            let values = self.rows[place / 3].at(place % 3).iter();
            for ((value, largest), of_largest) in values.zip(&mut self.largest).zip(&mut self.places) {
                let exceeds = exceeds(*value, *largest);
                *largest = if exceeds { *value } else { *largest };
                *of_largest = if exceeds { place as u32 } else { *of_largest };
            }
        }
    }

    /// Adds each window's gradient to that of its largest pixel.
    #[inline(always)]
    fn scatter<T: Stored>(&mut self, gradient: &[T]) {
        for place in 0..9 {
            let sums = self.sums[place / 3].at_mut(place % 3).iter_mut();
            for ((sum, gradient), of_largest) in sums.zip(gradient).zip(&self.places) {
                *sum += if *of_largest == place as u32 { gradient.widen() } else { 0.0 };
            }
        }
    }
}

/// Computes the gradient of `x`: each window's goes to its largest value, the first one of equal values.
fn backward<T: Stored>(x: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
    let shape = x.layout().shape().clone();
    let (plane, pooled) = (Plane::of(x), Plane::of(x).pooled());
    let [x, gradient] = [x, gradient].map(FlexTensor::to_contiguous);
    let (x, gradient) = (values::<T>(&x), values::<T>(&gradient));
    let pass = |windows: &mut Windows, number: usize, target: &mut [MaybeUninit<T>]| {
        vectorised(
            #[inline(always)]
            || {
                let x = &x[number * plane.size()..][..plane.size()];
                let gradient = &gradient[number * pooled.size()..][..pooled.size()];
                let mut targets = target.chunks_exact_mut(plane.width);
                windows.sums.iter_mut().for_each(|sums| sums.fill(0.0));
                for (row, gradient) in gradient.chunks_exact(pooled.width).enumerate() {
                    plane.load(x, row, &mut windows.rows);
                    windows.find_largest();
                    windows.scatter(gradient);
                    // The first windows' first row is padding; the last row is also the next windows' first one.
                    let done = &windows.sums[usize::from(row == 0)..2];
                    done.iter().zip(&mut targets).for_each(|(sums, target)| sums.write(target));
                    windows.sums.rotate_left(2);
                    windows.sums[1..].iter_mut().for_each(|sums| sums.fill(0.0));
                }
                targets.for_each(|target| windows.sums[0].write(target));
            },
        );
    };
    // SAFETY: every row is written, the last one after the loop over windows.
    let x_gradient = unsafe { par_collect_uninit(x.len(), plane.size(), || Windows::new(plane), pass) };
    tensor(x_gradient, shape)
}

impl PoolBackend for Flex {
    fn max_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        by_type!(x.dtype(), T => forward::<T>(&x), else plain::max_pool::<Self>(x))
    }
}

impl PoolBackward for Flex {
    fn max_pool_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        by_type!(x.dtype(), T => backward::<T>(&x, &gradient), else plain::max_pool_backward::<Self>(x, gradient))
    }
}
