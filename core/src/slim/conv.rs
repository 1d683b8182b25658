//! Slimmable convolution.

use burn::tensor::Tensor;

use crate::{
    kernel::conv::conv,
    parameter::{Layout, ParameterId, ParameterSpec, Role},
    pass::Pass,
    profile::{Cost, Extent},
    width::{Channels, WidthError},
};

/// A 2-D convolution without bias, `same`-padded for odd kernels, of whose weight each width uses a slice.
#[derive(Debug, Clone)]
pub struct SlimConv2d {
    weight: ParameterId,
    inputs: Channels,
    outputs: Channels,
    kernel: usize,
    stride: usize,
}

impl SlimConv2d {
    /// A square convolution named `name`; initial weights are Kaiming normal, fan-out, ReLU gain.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(
        layout: &mut Layout,
        name: &str,
        [inputs, outputs]: [Channels; 2],
        kernel: usize,
        stride: usize,
    ) -> Result<Self, WidthError> {
        let fan_out = (outputs.full() * kernel * kernel) as f64;
        let weight = layout.add(ParameterSpec {
            name: format!("{name}.weight"),
            role: Role::Weight { deviation: (2.0 / fan_out).sqrt() },
            outputs,
            inputs,
            kernel: [kernel, kernel],
            rank: 4,
            only_width: None,
        })?;
        Ok(Self { weight, inputs, outputs, kernel, stride })
    }

    /// Shapes: `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`,
    /// rounded up; `in` and `out` are the pass' width's.
    pub fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        conv(x, pass.parameter(self.weight), self.stride)
    }

    /// Counts the multiply-accumulates for one image.
    pub fn cost(&self, image: &mut Extent, cost: &mut Cost) {
        image.height = image.height.div_ceil(self.stride);
        image.width = image.width.div_ceil(self.stride);
        let per_pixel = self.inputs.at(cost.widths(), cost.width())
            * self.outputs.at(cost.widths(), cost.width())
            * self.kernel
            * self.kernel;
        cost.add((per_pixel * image.height * image.width) as u64);
    }
}
