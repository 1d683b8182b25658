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
    /// SlimLinear(F, F), ReLU, SlimLinear(F, D): MoCo v2's projection, and SEED's.
    Mocov2,
    /// SlimLinear(F, H), norm, ReLU, SlimLinear(H, D), norm without affine: MoCo v3's projection, without biases.
    Mocov3,
    /// SlimLinear(F, H), norm, ReLU, SlimLinear(H, D) without bias, norm: SimCLR's projection.
    Simclr,
    /// SlimLinear(F, H), ReLU, SlimLinear(H, D): MoCo v2's projection with any hidden layer, as DisCo, BINGO and Shi et
    /// al. have it.
    Disco,
    /// SlimLinear(F, H), norm, ReLU, SlimLinear(H, D): SwAV's projection, and SimDis'.
    Swav,
    /// SlimLinear(F, D): a classifier, or the embedding of CompRess with one queue.
    Supervised,
    /// One linear layer (F, D) per width.
    SupervisedSwitch,
    /// No head: the outputs are the features. A backbone of another program may come without one.
    None,
}

impl HeadKind {
    /// Returns whether its outputs are class scores.
    pub fn is_classifier(self) -> bool {
        matches!(self, Self::Supervised | Self::SupervisedSwitch)
    }

    /// Returns the hidden channels in the paper, for heads whose hidden channels are not the backbone's.
    pub fn paper_hidden(self) -> usize {
        match self {
            Self::Simclr | Self::Disco | Self::Swav => 2048,
            _ => 4096,
        }
    }
}

/// A head, from `F` features to `D` outputs.
#[derive(Debug, Clone)]
pub enum Head {
    /// Two linear layers.
    Projection(Perceptron),
    /// See [`HeadKind::Supervised`].
    Supervised(SlimLinear),
    /// See [`HeadKind::SupervisedSwitch`].
    SupervisedSwitch(SwitchableLinear),
    /// See [`HeadKind::None`].
    None,
}

impl Head {
    /// Creates a head of `kind` from `features` to `outputs` channels, named `fc` as in the authors' code. MoCo v2's has
    /// as many hidden channels as features; the other projections have `hidden`.
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
        let channels = [features, hidden, outputs];
        let sides = [features, outputs];
        Ok(match kind {
            HeadKind::Mocov2 => Self::Projection(Perceptron::plain(layout, "fc", [features, features, outputs])?),
            HeadKind::Disco => Self::Projection(Perceptron::plain(layout, "fc", channels)?),
            HeadKind::Swav => Self::Projection(Perceptron::normed(layout, "fc", channels, [true, true])?),
            HeadKind::Mocov3 => {
                let mut perceptron = Perceptron::normed(layout, "fc", channels, [false, false])?;
                perceptron.output_norm = Some(SwitchableBatchNorm::without_affine(layout, "fc.4", outputs)?);
                Self::Projection(perceptron)
            }
            HeadKind::Simclr => {
                let mut perceptron = Perceptron::normed(layout, "fc", channels, [true, false])?;
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
            Self::Projection(perceptron) => perceptron.visit(x, visitor),
            Self::Supervised(linear) => visitor.linear(x, linear),
            Self::SupervisedSwitch(linear) => visitor.linear(x, linear.at(visitor.width())),
            Self::None => x,
        }
    }
}

/// Two linear layers with ReLU between them, and optionally a norm after each.
#[derive(Debug, Clone)]
pub struct Perceptron {
    hidden: SlimLinear,
    hidden_norm: Option<SwitchableBatchNorm>,
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
        Self::normed(layout, "predictor", [outputs, hidden, outputs], [false, false])
    }

    /// Creates SimDis' predictor of the views `view`, named `pred_VIEW`: as MoCo v3's, but with biases.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn view_predictor(layout: &mut Layout, view: &str, hidden: usize, outputs: usize) -> Result<Self, WidthError> {
        let [hidden, outputs] = [Channels::Slim(hidden), Channels::Fixed(outputs)];
        Self::normed(layout, &format!("pred_{view}"), [outputs, hidden, outputs], [true, true])
    }

    /// Creates two layers with biases and ReLU, named by their places in PyTorch's `Sequential`: `name.0`, `name.2`.
    fn plain(layout: &mut Layout, name: &str, [inputs, hidden, outputs]: [Channels; 3]) -> Result<Self, WidthError> {
        Ok(Self {
            hidden: SlimLinear::new(layout, &format!("{name}.0"), [inputs, hidden])?,
            hidden_norm: None,
            output: SlimLinear::new(layout, &format!("{name}.2"), [hidden, outputs])?,
            output_norm: None,
        })
    }

    /// Creates two layers, with or without `biases`, with norm and ReLU between them: `name.0`, `name.1`, `name.3`.
    fn normed(
        layout: &mut Layout,
        name: &str,
        [inputs, hidden, outputs]: [Channels; 3],
        biases: [bool; 2],
    ) -> Result<Self, WidthError> {
        let [to_hidden, to_output] =
            biases.map(|biased| if biased { SlimLinear::new } else { SlimLinear::without_bias });
        Ok(Self {
            hidden: to_hidden(layout, &format!("{name}.0"), [inputs, hidden])?,
            hidden_norm: Some(SwitchableBatchNorm::new(layout, &format!("{name}.1"), hidden, 1.0)?),
            output: to_output(layout, &format!("{name}.3"), [hidden, outputs])?,
            output_norm: None,
        })
    }

    /// Visits the layers, from inputs to outputs, `[batch, channels, 1, 1]` each.
    pub fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value {
        let x = visitor.linear(x, &self.hidden);
        let x = match &self.hidden_norm {
            Some(norm) => visitor.norm(x, norm, Epilogue::Relu),
            None => visitor.relu(x),
        };
        let x = visitor.linear(x, &self.output);
        match &self.output_norm {
            Some(norm) => visitor.norm(x, norm, Epilogue::Nothing),
            None => x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::width::Widths;

    /// Returns name and shape of each parameter at full width, except the statistics of norms.
    fn parameters(build: impl FnOnce(&mut Layout)) -> Vec<String> {
        let mut layout = Layout::new(Widths::full());
        build(&mut layout);
        let trained = layout.iter().filter(|(_, spec)| spec.is_trained());
        trained.map(|(_, spec)| format!("{} {:?}", spec.name.replace(".bn.0.", "."), spec.named_shape())).collect()
    }

    #[test]
    fn the_layers_are_the_published_codes() {
        let head = |kind| parameters(|layout| drop(Head::new(layout, kind, Channels::Slim(6), 8, 4).unwrap()));
        assert_eq!(
            head(HeadKind::Mocov2),
            ["fc.0.weight [6, 6]", "fc.0.bias [6]", "fc.2.weight [4, 6]", "fc.2.bias [4]"]
        );
        assert_eq!(
            head(HeadKind::Disco),
            ["fc.0.weight [8, 6]", "fc.0.bias [8]", "fc.2.weight [4, 8]", "fc.2.bias [4]"]
        );
        assert_eq!(
            head(HeadKind::Swav),
            [
                "fc.0.weight [8, 6]",
                "fc.0.bias [8]",
                "fc.1.weight [8]",
                "fc.1.bias [8]",
                "fc.3.weight [4, 8]",
                "fc.3.bias [4]"
            ]
        );
        assert_eq!(
            head(HeadKind::Mocov3),
            ["fc.0.weight [8, 6]", "fc.1.weight [8]", "fc.1.bias [8]", "fc.3.weight [4, 8]"]
        );
        let predictor = parameters(|layout| drop(Perceptron::view_predictor(layout, "sema_dv", 8, 4).unwrap()));
        assert_eq!(
            predictor,
            [
                "pred_sema_dv.0.weight [8, 4]",
                "pred_sema_dv.0.bias [8]",
                "pred_sema_dv.1.weight [8]",
                "pred_sema_dv.1.bias [8]",
                "pred_sema_dv.3.weight [4, 8]",
                "pred_sema_dv.3.bias [4]"
            ]
        );
    }
}
