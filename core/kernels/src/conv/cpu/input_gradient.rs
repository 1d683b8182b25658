//! The gradient of the input.

use std::mem::MaybeUninit;

use burn::backend::{Flex, flex::FlexTensor};
use pulp::Arch;

use super::{
    geometry::Geometry,
    stencil::{Stencil, at, strides},
    sweep::{Extent, Scratch, Sweep, Target},
};
use crate::{
    conv::types::ConvInput,
    cpu::{Stored, par_collect_uninit, tensor, values},
};

/// Computes the gradient of `x`, whose values are not read; for activations of type `T`.
///
/// Every `stride`-th pixel uses the same taps, so each phase along both axes has its own stencil.
pub fn input_gradient<T: Stored>(input: &ConvInput<Flex>, gradient: &FlexTensor) -> FlexTensor {
    let ConvInput { weight, stride, .. } = input;
    let stride = *stride;
    let shape = Geometry::of(input);
    let gradient = gradient.to_contiguous();
    let gradient = values::<T>(&gradient);
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
    let any_empty = phases.iter().any(|(stencil, ..)| stencil.is_empty());
    let reads_in_place = shape.is_pointwise() && T::as_f32(gradient).is_some();
    let blank = || {
        let canvas = if reads_in_place { Vec::new() } else { canvas.blank(outputs) };
        (Scratch { canvas, ..Scratch::default() }, Vec::new())
    };
    let sweep = |(scratch, memory): &mut (Scratch, Vec<f32>), number: usize, x_gradient: &mut [MaybeUninit<T>]| {
        let image = &gradient[number * shape.output_size()..][..shape.output_size()];
        let pointwise = T::as_f32(image).filter(|_| reads_in_place);
        if pointwise.is_none() {
            canvas.fill(image, &mut scratch.canvas);
        }
        let sweep = |x_gradient: &mut [MaybeUninit<f32>]| {
            if any_empty {
                x_gradient.fill(MaybeUninit::new(0.0));
            }
            for &(ref stencil, extent, target) in phases.iter().filter(|(stencil, ..)| !stencil.is_empty()) {
                let (group, scratch, output) = (number % groups, &mut *scratch, &mut *x_gradient);
                Arch::new().dispatch(Sweep { stencil, group, pointwise, extent, scratch, output, target });
            }
        };
        // SAFETY: the phases' extents cover the input; where one is empty, the gradient was filled with zeros.
        unsafe { T::write_rounded(x_gradient, memory, sweep) };
    };
    // SAFETY: the phases' extents cover the input; where one is empty, the gradient was filled with zeros.
    let x_gradient =
        unsafe { par_collect_uninit(shape.batch * groups * shape.input_size(), shape.input_size(), blank, sweep) };
    tensor(x_gradient, [shape.batch, groups * shape.inputs, shape.height, shape.width])
}
