//! Slimmable and switchable linear layers.

use crate::{
    layout::{Layout, ParameterId, ParameterSpec, Role},
    width::{Channels, WidthError},
};

/// Returns the standard deviation of a linear layer's initial weights, given its inputs at full width.
///
/// From 2,048 inputs on it is the authors' 0.01, which suits the features of their ResNet-50. For fewer inputs it is 1
/// / sqrt(3 inputs), PyTorch's default for `Linear`: with 0.01, two layers on 64 features make embeddings of length
/// 0.04, and normalising them multiplies gradients by 25, which collapses the network in its first steps.
fn deviation(inputs: usize) -> f64 {
    if inputs >= 2048 { 0.01 } else { 1.0 / (3.0 * inputs as f64).sqrt() }
}

/// A linear layer. Each width uses a slice of its weight and bias.
#[derive(Debug, Clone)]
pub struct SlimLinear {
    weight: ParameterId,
    bias: Option<ParameterId>,
}

impl SlimLinear {
    /// Creates a layer named `name`. Weights are normal, with a deviation set by the inputs; the bias is zero.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(layout: &mut Layout, name: &str, sides: [Channels; 2]) -> Result<Self, WidthError> {
        Self::of_width(layout, name, sides, None)
    }

    /// Creates a layer without bias.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn without_bias(layout: &mut Layout, name: &str, sides: [Channels; 2]) -> Result<Self, WidthError> {
        Ok(Self { weight: Self::add_weight(layout, name, sides, None)?, bias: None })
    }

    fn of_width(
        layout: &mut Layout,
        name: &str,
        sides: [Channels; 2],
        only_width: Option<usize>,
    ) -> Result<Self, WidthError> {
        let weight = Self::add_weight(layout, name, sides, only_width)?;
        let bias = layout.add(ParameterSpec::bias(name, sides[1], only_width))?;
        Ok(Self { weight, bias: Some(bias) })
    }

    fn add_weight(
        layout: &mut Layout,
        name: &str,
        [inputs, outputs]: [Channels; 2],
        only_width: Option<usize>,
    ) -> Result<ParameterId, WidthError> {
        layout.add(ParameterSpec {
            name: format!("{name}.weight"),
            role: Role::Weight { deviation: deviation(inputs.full()) },
            outputs,
            inputs,
            kernel: [1, 1],
            rank: 2,
            only_width,
        })
    }

    /// Returns the weight, `[out, in]`.
    pub fn weight(&self) -> ParameterId {
        self.weight
    }

    /// Returns the bias, `[out]`, if it has one.
    pub fn bias(&self) -> Option<ParameterId> {
        self.bias
    }
}

/// One complete linear layer per width.
#[derive(Debug, Clone)]
pub struct SwitchableLinear {
    per_width: Vec<SlimLinear>,
}

impl SwitchableLinear {
    /// Creates layers named `name.linears.0`, `name.linears.1`, … in the order of the widths.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(layout: &mut Layout, name: &str, [inputs, outputs]: [Channels; 2]) -> Result<Self, WidthError> {
        let widths = layout.widths().clone();
        let per_width = (0..widths.len())
            .map(|index| {
                let sides = [inputs, outputs].map(|side| Channels::Fixed(side.at(&widths, index)));
                SlimLinear::of_width(layout, &format!("{name}.linears.{index}"), sides, Some(index))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { per_width })
    }

    /// Returns the layer of the width at `index`.
    pub fn at(&self, index: usize) -> &SlimLinear {
        &self.per_width[index]
    }
}
