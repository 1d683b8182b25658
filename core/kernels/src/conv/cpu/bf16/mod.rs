//! Convolution of activations in bfloat16, tile by tile, for processors with a matrix unit or dot products of bfloat16.
//!
//! An image is copied, row by row, to a canvas in which the taps of a row of windows lie side by side, as tiles read
//! them. Products are then matrix products: of weights and windows for the outputs and for the gradient of the input; of
//! windows and gradients for that of the weight. Sums are in f32. Those for activations are rounded when they are
//! complete; the gradient of the weight stays in f32. The order of sums does not depend on the number of threads, so
//! runs are reproducible.

mod correlation;
mod dot_products;
mod product;
mod rounding;
#[cfg(test)]
mod tests;
mod tiles;
mod weight_gradient;
mod weights;
mod windows;

use burn::{
    backend::{Flex, flex::FlexTensor},
    tensor::bf16,
};

pub use self::tiles::Unit;
use self::{
    correlation::{Correlation, SharedMut, Target},
    weight_gradient::WeightGradient,
    weights::{Places, Weights},
    windows::{Grid, Windows},
};
use super::{geometry::Geometry, stencil::strides};
use crate::{
    conv::types::ConvInput,
    cpu::{tensor, values},
};

/// Returns the sizes of a convolution of one group. Rows of a pointwise one are joined to longer ones.
fn geometry(input: &ConvInput<Flex>) -> Geometry {
    const LONG: usize = 512;
    let shape = Geometry::of(input);
    if !shape.is_pointwise() {
        return shape;
    }
    let Geometry { height, width, .. } = shape;
    let joined = (1..=height).rev().find(|joined| height % joined == 0 && joined * width <= LONG).unwrap_or(1);
    let (height, width) = (height / joined, width * joined);
    Geometry { height, width, out_height: height, out_width: width, ..shape }
}

/// Returns the windows that the forward pass and the weight's gradient read.
fn input_grid(shape: &Geometry) -> Grid {
    let windows = Windows {
        channels: shape.inputs,
        height: shape.height,
        width: shape.width,
        count: shape.out_width,
        stride: shape.stride,
        taps: shape.kernel,
        first: -(shape.padding() as isize),
        images: Windows::images_together(shape.out_width, shape.batch),
    };
    Grid {
        batch: shape.batch,
        windows,
        rows: shape.out_height,
        taps: shape.kernel,
        first: windows.first,
        outputs: shape.outputs,
    }
}

/// See [`conv`](crate::conv::conv()); for one group.
pub fn forward(unit: Unit, input: &ConvInput<Flex>) -> FlexTensor {
    let ConvInput { x, weight, .. } = input;
    let shape = geometry(input);
    let x = x.to_contiguous();
    let [out, within, down, right] = strides(weight);
    let [rows, taps]: [Vec<usize>; 2] = [down, right].map(|stride| (0..shape.kernel).map(|tap| tap * stride).collect());
    let places =
        Places { outputs: shape.outputs, channels: shape.inputs, strides: [out, within], rows: &rows, taps: &taps };
    let weights = Weights::new(unit, weight, &places);
    let correlation = Correlation {
        grid: input_grid(&shape),
        target: Target { first: 0, step: 1, pitch: shape.out_width, plane: shape.out_plane() },
    };
    let count = shape.batch * shape.output_size();
    let mut output = Vec::with_capacity(count);
    // SAFETY: there is memory for all windows, and all of it is written.
    unsafe {
        correlation.compute(unit, values(&x), shape.input_size(), &weights, SharedMut(output.as_mut_ptr()));
        output.set_len(count);
    }
    let [height, width] = [2, 3].map(|axis| input.x.layout().shape()[axis].div_ceil(shape.stride));
    tensor(output, [shape.batch, shape.outputs, height, width])
}

/// Computes the gradient of `x`, whose values are not read; for one group.
///
/// Every `stride`-th pixel uses the same taps, so each phase along both axes is a correlation.
pub fn input_gradient(unit: Unit, input: &ConvInput<Flex>, gradient: &FlexTensor) -> FlexTensor {
    let weight = &input.weight;
    let shape = geometry(input);
    let Geometry { stride, height, width, .. } = shape;
    let gradient = gradient.to_contiguous();
    let [out, within, down, right] = strides(weight);
    // Taps in the order of the output pixels that they come from, and the first of these.
    let taps_of = |phase: usize| -> Vec<(usize, isize)> {
        let margin = shape.padding() / stride;
        let mut taps: Vec<_> =
            shape.taps_of(phase).map(|(tap, place)| (tap, place as isize - margin as isize)).collect();
        taps.reverse();
        taps
    };
    let phases = (0..stride.min(height)).flat_map(|y| (0..stride.min(width)).map(move |x| (y, x)));
    let phases: Vec<_> = phases.map(|(y, x)| ((y, taps_of(y)), (x, taps_of(x)))).collect();
    let is_empty = |(_, taps): &(usize, Vec<_>)| taps.is_empty();
    let count = shape.batch * shape.input_size();
    let mut x_gradient = match phases.iter().any(|(y, x)| is_empty(y) || is_empty(x)) {
        true => vec![bf16::ZERO; count],
        false => Vec::with_capacity(count),
    };
    for ((y, down_taps), (x, right_taps)) in phases {
        let (Some(&(_, first_row)), Some(&(_, first))) = (down_taps.first(), right_taps.first()) else { continue };
        let offsets =
            |taps: &[(usize, isize)], stride| -> Vec<usize> { taps.iter().map(|(tap, _)| tap * stride).collect() };
        let (rows, taps) = (offsets(&down_taps, down), offsets(&right_taps, right));
        let places =
            Places { outputs: shape.inputs, channels: shape.outputs, strides: [within, out], rows: &rows, taps: &taps };
        let count = (width - x).div_ceil(stride);
        let windows = Windows {
            channels: shape.outputs,
            height: shape.out_height,
            width: shape.out_width,
            count,
            stride: 1,
            taps: taps.len(),
            first,
            images: Windows::images_together(count, shape.batch),
        };
        let grid = Grid {
            batch: shape.batch,
            windows,
            rows: (height - y).div_ceil(stride),
            taps: rows.len(),
            first: first_row,
            outputs: shape.inputs,
        };
        let correlation = Correlation {
            grid,
            target: Target { first: y * width + x, step: stride, pitch: stride * width, plane: shape.plane() },
        };
        let weights = Weights::new(unit, weight, &places);
        let target = SharedMut(x_gradient.as_mut_ptr());
        // SAFETY: there is memory for the pixels of every phase.
        unsafe { correlation.compute(unit, values(&gradient), shape.output_size(), &weights, target) };
    }
    // SAFETY: the phases cover the image; where one is empty, the gradient was filled with zeros.
    unsafe { x_gradient.set_len(count) };
    tensor(x_gradient, input.x.layout().shape().clone())
}

/// Computes the gradient of the weight, whose values are not read; for one group.
pub fn weight_gradient(unit: Unit, input: &ConvInput<Flex>, gradient: &FlexTensor) -> FlexTensor {
    let shape = geometry(input);
    let [x, gradient] = [&input.x, gradient].map(FlexTensor::to_contiguous);
    let products = WeightGradient { grid: input_grid(&shape) };
    let weight = products.compute(unit, values(&x), shape.input_size(), values(&gradient));
    tensor(weight, input.weight.layout().shape().clone())
}
