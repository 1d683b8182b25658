//! Sizes of a convolution and offsets of its taps.

use burn::backend::Flex;

use super::canvas::Canvas;
use crate::conv::types::ConvInput;

/// Sizes of a convolution. `inputs` and `outputs` are the channels of one group.
#[derive(Clone, Copy)]
pub struct Geometry {
    pub batch: usize,
    pub groups: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub height: usize,
    pub width: usize,
    pub kernel: usize,
    pub stride: usize,
    pub out_height: usize,
    pub out_width: usize,
}

impl Geometry {
    pub fn of(input: &ConvInput<Flex>) -> Self {
        let ConvInput { x, weight, stride, .. } = input;
        let stride = *stride;
        let [batch, channels, height, width] = x.layout().shape().dims();
        let [out_channels, inputs, kernel, _] = weight.layout().shape().dims();
        let groups = channels / inputs;
        let outputs = out_channels / groups;
        assert_eq!([groups * inputs, groups * outputs], [channels, out_channels], "channels divide into groups");
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        Self { batch, groups, inputs, outputs, height, width, kernel, stride, out_height, out_width }
    }

    /// Returns the number of values in one group of an image.
    pub fn input_size(&self) -> usize {
        self.inputs * self.plane()
    }

    pub fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Returns the number of values in one group of an output.
    pub fn output_size(&self) -> usize {
        self.outputs * self.out_plane()
    }

    pub fn out_plane(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Returns the number of values in the receptive field of an output pixel, in one group.
    pub fn patch(&self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    pub fn padding(&self) -> usize {
        self.kernel / 2
    }

    /// Returns whether each output pixel has only one input pixel, so that no canvas is needed.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    /// Returns the canvas of the input, for the forward pass and the weight's gradient.
    pub fn input_canvas(&self) -> Canvas {
        // With stride 1, the margin on the right of a row is also the left one of the next row.
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

    /// Returns the offset of each value of a patch in the [`input_canvas`](Self::input_canvas), from the output pixel's
    /// own.
    pub fn patch_offsets(&self) -> Vec<usize> {
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

    /// Returns the canvas of the output's gradient, for the input's gradient.
    pub fn gradient_canvas(&self) -> Canvas {
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

    /// Returns the kernel's taps, along one axis, that every `stride`-th input pixel from `phase` on contributes
    /// through; and, in the [`gradient_canvas`](Self::gradient_canvas), the place of the first output pixel that it
    /// contributes to.
    pub fn taps_of(&self, phase: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
        let (stride, kernel, padding) = (self.stride, self.kernel, self.padding());
        // A multiple of the stride is added and subtracted again, to stay above zero.
        let margin = padding / stride;
        (0..kernel)
            .map(move |tap| (tap, phase + padding + stride * kernel - tap))
            .filter(move |(_, distance)| distance.is_multiple_of(stride))
            .map(move |(tap, distance)| (tap, distance / stride + margin - kernel))
    }
}
