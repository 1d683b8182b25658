//! An encoder's architecture: backbone, head, and the table of their parameters.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

pub use crate::error::BuildError;
use crate::{
    backbone::{Backbone, cifar::cifar_resnet, efficientnet::efficientnet_b0, resnet::resnet},
    head::{Head, HeadKind, Perceptron},
    layout::Layout,
    visitor::Visitor,
    width::Widths,
};

/// The kinds of backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum BackboneKind {
    /// For small images: 3x3 stem, three stages of basic blocks; depths 8, 14, 20, 32, 44, 56, 110
    Cifar,
    /// For ImageNet: 7x7/2 stem and max pooling, four stages; depths 18, 34, 50, 101, 152
    Resnet,
    /// A small network for comparison, of one depth; needs --widths 1.0
    EfficientnetB0,
}

/// Options of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// The kind of backbone.
    pub backbone: BackboneKind,
    /// Its depth in layers; ignored by EfficientNet-B0.
    pub depth: usize,
    /// Multiplier of its standard channels.
    pub multiplier: f64,
    /// The widths it can run at.
    pub widths: Widths,
    /// The kind of head.
    pub head: HeadKind,
    /// Hidden channels of SimCLR's and MoCo v3's heads, and of the predictor.
    pub hidden: usize,
    /// Whether a predictor follows the head (MoCo v3's queries).
    pub predictor: bool,
    /// The head's output dimension, `D`.
    pub outputs: usize,
}

/// Names the architecture, without widths and head: `ResNet-50`, `CIFAR ResNet-20 x2`.
impl fmt::Display for EncoderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backbone {
            BackboneKind::Cifar => write!(f, "CIFAR ResNet-{}", self.depth)?,
            BackboneKind::Resnet => write!(f, "ResNet-{}", self.depth)?,
            BackboneKind::EfficientnetB0 => write!(f, "EfficientNet-B0")?,
        }
        if self.multiplier == 1.0 { Ok(()) } else { write!(f, " x{}", self.multiplier) }
    }
}

/// Backbone, head, and the table of their parameters, without values.
#[derive(Debug, Clone)]
pub struct Encoder {
    layout: Arc<Layout>,
    backbone: Backbone,
    head: Head,
    predictor: Option<Perceptron>,
}

impl EncoderConfig {
    /// Builds the architecture.
    ///
    /// # Errors
    /// If the backbone has no such depth or size, or some width would leave a layer without channels.
    pub fn build(&self) -> Result<Encoder, BuildError> {
        if self.outputs == 0 {
            return Err(BuildError::NoOutputs);
        }
        let mut layout = Layout::new(self.widths.clone());
        let backbone = match self.backbone {
            BackboneKind::Cifar => cifar_resnet(&mut layout, self.depth, self.multiplier)?,
            BackboneKind::Resnet => resnet(&mut layout, self.depth, self.multiplier)?,
            BackboneKind::EfficientnetB0 => efficientnet_b0(&mut layout, self.multiplier)?,
        };
        let head = Head::new(&mut layout, self.head, backbone.features(), self.hidden, self.outputs)?;
        let predictor =
            self.predictor.then(|| Perceptron::predictor(&mut layout, self.hidden, self.outputs)).transpose()?;
        Ok(Encoder::from_parts(layout, backbone, head, predictor))
    }
}

impl Encoder {
    /// Creates an encoder from its parts, such as a custom backbone. All their parameters must be in `layout`.
    pub fn from_parts(layout: Layout, backbone: Backbone, head: Head, predictor: Option<Perceptron>) -> Self {
        Self { layout: Arc::new(layout), backbone, head, predictor }
    }

    /// Returns the table of parameters.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Returns whether its outputs are class scores.
    pub fn is_classifier(&self) -> bool {
        matches!(self.head, Head::Supervised(_) | Head::SupervisedSwitch(_))
    }

    /// Returns the backbone.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// Returns the head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the predictor that follows the head, if there is one (MoCo v3's queries).
    pub fn predictor(&self) -> Option<&Perceptron> {
        self.predictor.as_ref()
    }

    /// Visits backbone and head. Shapes: images `[batch, 3, height, width]` to `[batch, D, 1, 1]`.
    pub fn visit<V: Visitor>(&self, images: V::Value, visitor: &mut V) -> V::Value {
        let features = self.backbone.visit(images, visitor);
        self.head.visit(features, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::profile;

    #[test]
    fn a_multiplier_costs_as_much_as_the_same_width() {
        for (backbone, depth) in [(BackboneKind::Cifar, 8), (BackboneKind::Resnet, 18), (BackboneKind::Resnet, 50)] {
            let of = |multiplier, widths: &[f64]| EncoderConfig {
                backbone,
                depth,
                multiplier,
                widths: Widths::try_from(widths.to_vec()).unwrap(),
                head: HeadKind::Mocov2,
                hidden: HeadKind::Mocov2.paper_hidden(),
                predictor: false,
                outputs: 24,
            };
            for width in [0.75, 0.3] {
                let [slimmable, alone] = [of(1.0, &[1.0, width]), of(width, &[1.0])].map(|it| it.build().unwrap());
                let [slimmable, alone] = [profile(&slimmable, 32), profile(&alone, 32)];
                let [as_slice, plain] = [&slimmable[1], &alone[0]];
                assert_eq!([as_slice.parameters, as_slice.macs], [plain.parameters, plain.macs]);
            }
            let channels = if backbone == BackboneKind::Cifar { 16 } else { 64 };
            let refused = of(0.01, &[1.0]).build().unwrap_err();
            assert_eq!(refused, BuildError::NoChannels { multiplier: 0.01, channels });
        }
    }
}
