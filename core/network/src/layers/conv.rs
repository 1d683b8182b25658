//! Slimmable convolution.

use crate::{
    layout::{Layout, ParameterId, ParameterSpec, Role},
    width::{Channels, WidthError},
};

/// How zeros are put around a convolution's input, so that its output has `size / stride` pixels, rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// `kernel / 2` on each side, as PyTorch's networks have it.
    Symmetric,
    /// As few as possible; of an odd number the larger part at the bottom and on the right: TensorFlow's "same". It
    /// differs from `Symmetric` if the stride is 2 and the size even.
    TensorFlow,
}

/// A 2-D convolution, padded for odd kernels. Each width uses a slice of its weight and bias.
#[derive(Debug, Clone)]
pub struct SlimConv2d {
    weight: ParameterId,
    bias: Option<ParameterId>,
    stride: usize,
    padding: Padding,
    sees_images: bool,
}

impl SlimConv2d {
    /// Creates a square convolution named `name`, without bias. `inputs` are the channels that each output reads: one
    /// if the convolution is depthwise. Initial weights are Kaiming normal with ReLU gain; as in PyTorch, the fan-out
    /// counts all output channels even for depthwise convolutions.
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
        Ok(Self { weight, bias: None, stride, padding: Padding::Symmetric, sees_images: inputs == Channels::IMAGE })
    }

    /// Creates a 1x1 convolution with a bias that starts at zero.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn pointwise_with_bias(layout: &mut Layout, name: &str, sides: [Channels; 2]) -> Result<Self, WidthError> {
        let conv = Self::new(layout, name, sides, 1, 1)?;
        let bias = layout.add(ParameterSpec::bias(name, sides[1], None))?;
        Ok(Self { bias: Some(bias), ..conv })
    }

    /// Returns the same convolution with this padding.
    pub fn padded(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// Returns the weight, `[out, in, kernel, kernel]`; `[out, 1, kernel, kernel]` if it is depthwise.
    pub fn weight(&self) -> ParameterId {
        self.weight
    }

    /// Returns the bias, `[out]`, if it has one.
    pub fn bias(&self) -> Option<ParameterId> {
        self.bias
    }

    /// Returns whether its inputs are the images ([`Channels::IMAGE`]). These are the same at every width, so its outputs
    /// are slices of the full network's.
    pub fn sees_images(&self) -> bool {
        self.sees_images
    }

    /// Returns the stride in pixels.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Returns the padding.
    pub fn padding(&self) -> Padding {
        self.padding
    }
}
