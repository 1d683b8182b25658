//! Slimmable and switchable linear layers.

use burn::tensor::{Tensor, module::linear};

use crate::{
    parameter::{Layout, ParameterId, ParameterSpec, Role},
    pass::Pass,
    profile::Cost,
    width::{Channels, WidthError},
};

/// Standard deviation of a linear layer's initial weights.
const DEVIATION: f64 = 0.01;

/// A linear layer with bias, of whose weight and bias each width uses the leading slice.
#[derive(Debug, Clone)]
pub struct SlimLinear {
    weight: ParameterId,
    bias: ParameterId,
    inputs: Channels,
    outputs: Channels,
}

impl SlimLinear {
    /// A layer named `name`, with weights from N(0, 0.01) and zero bias.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(layout: &mut Layout, name: &str, sides: [Channels; 2]) -> Result<Self, WidthError> {
        Self::of_width(layout, name, sides, None)
    }

    fn of_width(
        layout: &mut Layout,
        name: &str,
        [inputs, outputs]: [Channels; 2],
        only_width: Option<usize>,
    ) -> Result<Self, WidthError> {
        let weight = layout.add(ParameterSpec {
            name: format!("{name}.weight"),
            role: Role::Weight { deviation: DEVIATION },
            outputs,
            inputs,
            kernel: [1, 1],
            rank: 2,
            only_width,
        })?;
        let bias = layout.add(ParameterSpec {
            name: format!("{name}.bias"),
            role: Role::PerChannel { initial: 0.0 },
            outputs,
            inputs: Channels::Fixed(1),
            kernel: [1, 1],
            rank: 1,
            only_width,
        })?;
        Ok(Self { weight, bias, inputs, outputs })
    }

    /// Shapes: `[batch, in]` to `[batch, out]`, of the pass' width.
    pub fn forward(&self, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        let weight = pass.parameter(self.weight);
        let [outputs, inputs, ..] = weight.dims();
        let bias = pass.parameter(self.bias).reshape([outputs]);
        linear(x, weight.reshape([outputs, inputs]).transpose(), Some(bias))
    }

    /// Counts the multiply-accumulates for one sample.
    pub fn cost(&self, cost: &mut Cost) {
        let [inputs, outputs] = [self.inputs, self.outputs].map(|side| side.at(cost.widths(), cost.width()));
        cost.add((inputs * outputs) as u64);
    }
}

/// One complete linear layer per width.
#[derive(Debug, Clone)]
pub struct SwitchableLinear {
    per_width: Vec<SlimLinear>,
}

impl SwitchableLinear {
    /// Layers named `name.linears.0`, `name.linears.1`, … in the order of the widths.
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

    /// Shapes: `[batch, in]` to `[batch, out]`, of the pass' width.
    pub fn forward(&self, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        self.per_width[pass.width()].forward(x, pass)
    }

    /// Counts the multiply-accumulates for one sample.
    pub fn cost(&self, cost: &mut Cost) {
        self.per_width[cost.width()].cost(cost);
    }
}
