//! Slimmable convolution.

use crate::{
    layout::{Layout, ParameterId, ParameterSpec, Role},
    width::{Channels, WidthError},
};

/// A 2-D convolution, `same`-padded for odd kernels, of whose weight and bias each width uses a slice.
#[derive(Debug, Clone)]
pub struct SlimConv2d {
    weight: ParameterId,
    bias: Option<ParameterId>,
    stride: usize,
    sees_images: bool,
}

impl SlimConv2d {
    /// A square convolution named `name`, without bias. `inputs` are those that one output sees: a single one if the
    /// convolution is depthwise. Initial weights are Kaiming normal, fan-out, ReLU gain, where the fan-out is
    /// PyTorch's, of all output channels even then.
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
        // A depthwise one has one input, which is another at every output.
        let sees_images = matches!(inputs, Channels::Fixed(inputs) if inputs > 1);
        Ok(Self { weight, bias: None, stride, sees_images })
    }

    /// A 1x1 convolution with a bias, zero at first.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn pointwise_with_bias(layout: &mut Layout, name: &str, sides: [Channels; 2]) -> Result<Self, WidthError> {
        let conv = Self::new(layout, name, sides, 1, 1)?;
        let bias = layout.add(ParameterSpec::bias(name, sides[1], None))?;
        Ok(Self { bias: Some(bias), ..conv })
    }

    /// The weight, `[out, in, kernel, kernel]`; `[out, 1, kernel, kernel]` if it is depthwise.
    pub fn weight(&self) -> ParameterId {
        self.weight
    }

    /// The bias, `[out]`, if it has one.
    pub fn bias(&self) -> Option<ParameterId> {
        self.bias
    }

    /// Whether its inputs are the images, which are the same at every width: its outputs are then slices of the full
    /// network's.
    pub fn sees_images(&self) -> bool {
        self.sees_images
    }

    /// Pixels from one output to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }
}
