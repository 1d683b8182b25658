//! Slimmable convolution.

use burn::tensor::Tensor;

use crate::{
    kernel::conv::conv,
    parameter::{Layout, ParameterId, ParameterSpec, Role},
    pass::Pass,
    width::{Channels, WidthError},
};

/// A 2-D convolution without bias, `same`-padded for odd kernels, of whose weight each width uses a slice.
#[derive(Debug, Clone)]
pub struct SlimConv2d {
    weight: ParameterId,
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
        Ok(Self { weight, stride })
    }

    /// Shapes: `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`,
    /// rounded up; `in` and `out` are the pass' width's.
    pub fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let weight = pass.parameter(self.weight);
        pass.precision().product(x, weight, |x, weight| conv(x, weight, self.stride))
    }

    /// The weight, `[out, in, kernel, kernel]`.
    pub fn weight(&self) -> ParameterId {
        self.weight
    }

    /// Pixels from one output to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }
}
