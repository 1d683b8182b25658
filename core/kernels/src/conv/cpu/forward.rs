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
    cpu::{par_collect_uninit, tensor, values},
};

/// See [`conv`](crate::conv::conv()).
pub fn forward(input: &ConvInput<Flex>) -> FlexTensor {
    let ConvInput { x, weight, .. } = input;
    let shape = Geometry::of(input);
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
            canvas.fill(image, &mut scratch.canvas);
        }
        let group = number % groups;
        Arch::new().dispatch(Sweep { stencil: &stencil, group, pointwise, extent, scratch, output, target });
    };
    // SAFETY: the extent covers the output.
    let output =
        unsafe { par_collect_uninit(shape.batch * groups * shape.output_size(), shape.output_size(), blank, sweep) };
    tensor(output, [shape.batch, groups * outputs, shape.out_height, shape.out_width])
}
