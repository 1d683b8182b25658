//! The heads of spec section 1: what follows the backbone.

use burn::tensor::{Tensor, activation::relu};
use serde::{Deserialize, Serialize};

use crate::{
    parameter::Layout,
    pass::Pass,
    profile::Cost,
    slim::{SlimLinear, SwitchableLinear},
    width::{Channels, WidthError},
};

/// The kinds of head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// SlimLinear(F, F), ReLU, SlimLinear(F, D): MoCo v2's projection.
    Mocov2,
    /// SlimLinear(F, D).
    Supervised,
    /// One linear layer (F, D) per width.
    SupervisedSwitch,
}

/// A head, from `F` features to `D` outputs.
#[derive(Debug, Clone)]
pub enum Head {
    /// See [`HeadKind::Mocov2`].
    Mocov2 {
        /// F to F.
        hidden: SlimLinear,
        /// F to D.
        output: SlimLinear,
    },
    /// See [`HeadKind::Supervised`].
    Supervised(SlimLinear),
    /// See [`HeadKind::SupervisedSwitch`].
    SupervisedSwitch(SwitchableLinear),
}

impl Head {
    /// A head of `kind` from `features` to `outputs` channels, named `fc` as in the authors' code.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(layout: &mut Layout, kind: HeadKind, features: Channels, outputs: usize) -> Result<Self, WidthError> {
        let sides = [features, Channels::Fixed(outputs)];
        Ok(match kind {
            HeadKind::Mocov2 => Self::Mocov2 {
                hidden: SlimLinear::new(layout, "fc.0", [features, features])?,
                output: SlimLinear::new(layout, "fc.2", sides)?,
            },
            HeadKind::Supervised => Self::Supervised(SlimLinear::new(layout, "fc", sides)?),
            HeadKind::SupervisedSwitch => Self::SupervisedSwitch(SwitchableLinear::new(layout, "fc", sides)?),
        })
    }

    /// Shapes: `[batch, features]` of the pass' width to `[batch, outputs]`.
    pub fn forward(&self, x: Tensor<2>, pass: &mut Pass) -> Tensor<2> {
        match self {
            Self::Mocov2 { hidden, output } => {
                let hidden = relu(hidden.forward(x, pass));
                output.forward(hidden, pass)
            }
            Self::Supervised(linear) => linear.forward(x, pass),
            Self::SupervisedSwitch(linear) => linear.forward(x, pass),
        }
    }

    /// Counts the multiply-accumulates for one sample.
    pub fn cost(&self, cost: &mut Cost) {
        match self {
            Self::Mocov2 { hidden, output } => {
                hidden.cost(cost);
                output.cost(cost);
            }
            Self::Supervised(linear) => linear.cost(cost),
            Self::SupervisedSwitch(linear) => linear.cost(cost),
        }
    }
}
