//! The forward pass.

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

/// See [`conv`](crate::conv::conv()); for activations of type `T`.
pub fn forward<T: Stored>(input: &ConvInput<Flex>) -> FlexTensor {
    let ConvInput { x, weight, .. } = input;
    let shape = Geometry::of(input);
    let x = x.to_contiguous();
    let x = values::<T>(&x);
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
    let reads_in_place = shape.is_pointwise() && T::as_f32(x).is_some();
    let blank = || {
        let canvas = if reads_in_place { Vec::new() } else { canvas.blank(shape.inputs) };
        (Scratch { canvas, ..Scratch::default() }, Vec::new())
    };
    let sweep = |(scratch, memory): &mut (Scratch, Vec<f32>), number: usize, output: &mut [MaybeUninit<T>]| {
        let image = &x[number * shape.input_size()..][..shape.input_size()];
        let pointwise = T::as_f32(image).filter(|_| reads_in_place);
        if pointwise.is_none() {
            canvas.fill(image, &mut scratch.canvas);
        }
        let (stencil, group) = (&stencil, number % groups);
        let sweep = |output: &mut [MaybeUninit<f32>]| {
            Arch::new().dispatch(Sweep { stencil, group, pointwise, extent, scratch, output, target });
        };
        // SAFETY: the extent covers the output.
        unsafe { T::write_rounded(output, memory, sweep) };
    };
    // SAFETY: the extent covers the output.
    let output =
        unsafe { par_collect_uninit(shape.batch * groups * shape.output_size(), shape.output_size(), blank, sweep) };
    tensor(output, [shape.batch, groups * outputs, shape.out_height, shape.out_width])
}
