//! Max pooling on the CPU, for f32.

use std::{array, mem::MaybeUninit};

use burn::backend::flex::FlexTensor;

use super::{copy, tensor, values, vectorised, written};

/// Height and width of planes.
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

    /// Rows with a margin, for [`see`](Self::see).
    fn rows(self) -> [Vec<f32>; 3] {
        array::from_fn(|_| vec![f32::NEG_INFINITY; self.width + 3])
    }

    /// Copies the three rows of `plane` that the windows of a row of the output see, each pixel one place further.
    #[inline(always)]
    fn see(self, plane: &[f32], row: usize, rows: &mut [Vec<f32>; 3]) {
        for (y, target) in (2 * row..).zip(rows) {
            match y.checked_sub(1).filter(|y| *y < self.height) {
                Some(y) => copy(&plane[y * self.width..][..self.width], &mut target[1..]),
                None => target[1..=self.width].fill(f32::NEG_INFINITY),
            }
        }
    }
}

/// Whether `value` takes the place of the largest so far; NaN does, and keeps it: a diverged run must show.
#[inline(always)]
fn exceeds(value: f32, largest: f32) -> bool {
    value > largest || value.is_nan()
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if exceeds(b, a) { b } else { a }
}

/// See [`max_pool`](crate::kernel::pool::max_pool).
pub fn forward(x: &FlexTensor) -> FlexTensor {
    let [batch, channels, ..] = x.layout().shape().dims::<4>();
    let (plane, pooled) = (Plane::of(x), Plane::of(x).pooled());
    let x = x.to_contiguous();
    let x = values(&x);
    let pool = |rows: &mut [Vec<f32>; 3], number: usize, output: &mut [MaybeUninit<f32>]| {
        vectorised(
            #[inline(always)]
            || {
                let x = &x[number * plane.size()..][..plane.size()];
                for (row, output) in output.chunks_exact_mut(pooled.width).enumerate() {
                    plane.see(x, row, rows);
                    let [first, second, third] = rows;
                    for ((first, second), third) in first.iter_mut().zip(second).zip(third) {
                        *first = larger(larger(*first, *second), *third);
                    }
                    for (output, window) in output.iter_mut().zip(first.windows(3).step_by(2)) {
                        output.write(larger(larger(window[0], window[1]), window[2]));
                    }
                }
            },
        );
    };
    let count = batch * channels * pooled.size();
    // SAFETY: every pixel of every row is written.
    let output = unsafe { written(count, pooled.size(), || plane.rows(), pool) };
    tensor(output, [batch, channels, pooled.height, pooled.width])
}

/// The gradient of `x`: each window's goes to its largest value, the first of several.
pub fn backward(x: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
    let shape = x.layout().shape().clone();
    let (plane, pooled) = (Plane::of(x), Plane::of(x).pooled());
    let [x, gradient] = [x, gradient].map(FlexTensor::to_contiguous);
    let (x, gradient) = (values(&x), values(&gradient));
    let mut x_gradient = vec![0.0; x.len()];
    super::for_each_chunk(
        &mut x_gradient,
        plane.size(),
        || plane.rows(),
        |rows, number, target| {
            let x = &x[number * plane.size()..][..plane.size()];
            let gradient = &gradient[number * pooled.size()..][..pooled.size()];
            for (row, gradient) in gradient.chunks_exact(pooled.width).enumerate() {
                plane.see(x, row, rows);
                for (column, gradient) in gradient.iter().enumerate() {
                    let (mut largest, mut place) = (f32::NEG_INFINITY, None);
                    for (down, values) in rows.iter().enumerate() {
                        for (right, &value) in values[2 * column..][..3].iter().enumerate() {
                            if exceeds(value, largest) {
                                (largest, place) =
                                    (value, Some((2 * row + down - 1) * plane.width + 2 * column + right - 1));
                            }
                        }
                    }
                    if let Some(place) = place {
                        target[place] += gradient;
                    }
                }
            }
        },
    );
    tensor(x_gradient, shape)
}
