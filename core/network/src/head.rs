//! The heads that follow the backbone.

use serde::{Deserialize, Serialize};

use crate::{
    layers::{SlimLinear, SwitchableBatchNorm, SwitchableLinear},
    layout::Layout,
    visitor::{Epilogue, Visitor},
    width::{Channels, WidthError},
};

/// Name of the last stage.
pub const HEAD: &str = "head";

/// The kinds of head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// SlimLinear(F, F), ReLU, SlimLinear(F, D): MoCo v2's projection.
    Mocov2,
    /// SlimLinear(F, H), norm, ReLU, SlimLinear(H, D), norm without affine: MoCo v3's projection, without biases.
    Mocov3,
    /// SlimLinear(F, H), norm, ReLU, SlimLinear(H, D) without bias, norm: SimCLR's projection.
    Simclr,
    /// SlimLinear(F, D).
    Supervised,
    /// One linear layer (F, D) per width.
    SupervisedSwitch,
    /// No head: the outputs are the features. A backbone of another program may come without one.
    None,
}

impl HeadKind {
    /// Returns the hidden channels in the paper, for heads whose hidden channels are not the backbone's.
    pub fn paper_hidden(self) -> usize {
        if self == Self::Simclr { 2048 } else { 4096 }
    }
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
    /// See [`HeadKind::Mocov3`] and [`HeadKind::Simclr`].
    Projection(Perceptron),
    /// See [`HeadKind::Supervised`].
    Supervised(SlimLinear),
    /// See [`HeadKind::SupervisedSwitch`].
    SupervisedSwitch(SwitchableLinear),
    /// See [`HeadKind::None`].
    None,
}

impl Head {
    /// Creates a head of `kind` from `features` to `outputs` channels, named `fc` as in the authors' code. Only MoCo
    /// v3's and SimCLR's heads use `hidden`.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(
        layout: &mut Layout,
        kind: HeadKind,
        features: Channels,
        hidden: usize,
        outputs: usize,
    ) -> Result<Self, WidthError> {
        let [hidden, outputs] = [Channels::Slim(hidden), Channels::Fixed(outputs)];
        let sides = [features, outputs];
        Ok(match kind {
            HeadKind::Mocov2 => Self::Mocov2 {
                hidden: SlimLinear::new(layout, "fc.0", [features, features])?,
                output: SlimLinear::new(layout, "fc.2", sides)?,
            },
            HeadKind::Mocov3 => {
                let first = SlimLinear::without_bias(layout, "fc.0", [features, hidden])?;
                let mut perceptron = Perceptron::new(layout, "fc", first, [hidden, outputs])?;
                perceptron.output_norm = Some(SwitchableBatchNorm::without_affine(layout, "fc.4", outputs)?);
                Self::Projection(perceptron)
            }
            HeadKind::Simclr => {
                let first = SlimLinear::new(layout, "fc.0", [features, hidden])?;
                let mut perceptron = Perceptron::new(layout, "fc", first, [hidden, outputs])?;
                perceptron.output_norm = Some(SwitchableBatchNorm::new(layout, "fc.4", outputs, 1.0)?);
                Self::Projection(perceptron)
            }
            HeadKind::Supervised => Self::Supervised(SlimLinear::new(layout, "fc", sides)?),
            HeadKind::SupervisedSwitch => Self::SupervisedSwitch(SwitchableLinear::new(layout, "fc", sides)?),
            HeadKind::None => Self::None,
        })
    }

    /// Visits the layers, from features `[batch, F, 1, 1]` to outputs `[batch, D, 1, 1]`.
    pub fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value {
        if !matches!(self, Self::None) {
            visitor.stage(HEAD);
        }
        match self {
            Self::Mocov2 { hidden, output } => {
                let x = visitor.linear(x, hidden);
                let x = visitor.relu(x);
                visitor.linear(x, output)
            }
            Self::Projection(perceptron) => perceptron.visit(x, visitor),
            Self::Supervised(linear) => visitor.linear(x, linear),
            Self::SupervisedSwitch(linear) => visitor.linear(x, linear.at(visitor.width())),
            Self::None => x,
        }
    }
}

/// Two linear layers with a norm and ReLU between them, the second without bias, and optionally a norm after it.
#[derive(Debug, Clone)]
pub struct Perceptron {
    hidden: SlimLinear,
    norm: SwitchableBatchNorm,
    output: SlimLinear,
    output_norm: Option<SwitchableBatchNorm>,
}

impl Perceptron {
    /// Creates MoCo v3's predictor: from the embeddings through `hidden` channels back to their dimension, without
    /// biases.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn predictor(layout: &mut Layout, hidden: usize, outputs: usize) -> Result<Self, WidthError> {
        let [hidden, outputs] = [Channels::Slim(hidden), Channels::Fixed(outputs)];
        let first = SlimLinear::without_bias(layout, "predictor.0", [outputs, hidden])?;
        Self::new(layout, "predictor", first, [hidden, outputs])
    }

    fn new(layout: &mut Layout, name: &str, hidden: SlimLinear, sides: [Channels; 2]) -> Result<Self, WidthError> {
        Ok(Self {
            hidden,
            norm: SwitchableBatchNorm::new(layout, &format!("{name}.1"), sides[0], 1.0)?,
            output: SlimLinear::without_bias(layout, &format!("{name}.3"), sides)?,
            output_norm: None,
        })
    }

    /// Visits the layers, from inputs to outputs, `[batch, channels, 1, 1]` each.
    pub fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value {
        let x = visitor.linear(x, &self.hidden);
        let x = visitor.norm(x, &self.norm, Epilogue::Relu);
        let x = visitor.linear(x, &self.output);
        match &self.output_norm {
            Some(norm) => visitor.norm(x, norm, Epilogue::Nothing),
            None => x,
        }
    }
}
