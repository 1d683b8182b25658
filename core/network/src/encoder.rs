//! An encoder's architecture: backbone, head, and the table of their parameters.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

pub use crate::error::BuildError;
use crate::{
    backbone::{
        Backbone,
        cifar::cifar_resnet,
        efficientnet::{Form, Size, efficientnet},
        mobilenet::mobilenet_v3_large,
        resnet::{Stem, resnet},
    },
    head::{Head, HeadKind, Perceptron},
    layers::SlimLinear,
    layout::Layout,
    visitor::Visitor,
    width::{Channels, Widths},
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
    /// As resnet, for small images: a 3x3 stem without max pooling; the usual ResNet-18 for CIFAR-10
    ResnetCifarStem,
    /// A small network for comparison, of one depth; needs --widths 1.0
    EfficientnetB0,
    /// As efficientnet-b0, with more blocks
    EfficientnetB1,
    /// EfficientNet-B0 as in TensorFlow and in SEED's code: other padding and batch-norm constants
    TfEfficientnetB0,
    /// EfficientNet-B1 as in TensorFlow and in SEED's code
    TfEfficientnetB1,
    /// A small network for comparison, as in SEED's code, of one depth; needs --widths 1.0
    MobilenetV3Large,
}

impl BackboneKind {
    /// Returns the name in publications, without the depth.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar => "CIFAR ResNet",
            Self::Resnet => "ResNet",
            Self::ResnetCifarStem => "CIFAR-stem ResNet",
            Self::EfficientnetB0 => "EfficientNet-B0",
            Self::EfficientnetB1 => "EfficientNet-B1",
            Self::TfEfficientnetB0 => "TensorFlow's EfficientNet-B0",
            Self::TfEfficientnetB1 => "TensorFlow's EfficientNet-B1",
            Self::MobilenetV3Large => "MobileNetV3-Large",
        }
    }

    /// Returns whether it comes in several depths, widths and multiples of its channels.
    pub fn has_sizes(self) -> bool {
        matches!(self, Self::Cifar | Self::Resnet | Self::ResnetCifarStem)
    }

    /// Returns whether it is made for images as small as CIFAR-10's; the others are made for ImageNet's.
    pub fn is_for_small_images(self) -> bool {
        matches!(self, Self::Cifar | Self::ResnetCifarStem)
    }
}

/// The predictors that follow the head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Predictors {
    /// None.
    #[default]
    None,
    /// One, for queries: MoCo v3's.
    Mocov3,
    /// One for each of these names, such as `sema_dv`: SimDis' predictors, each with its own target.
    Simdis(Vec<String>),
}

/// Options of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// The kind of backbone.
    pub backbone: BackboneKind,
    /// Its depth in layers; ignored by a backbone that [has no sizes](BackboneKind::has_sizes).
    pub depth: usize,
    /// Multiplier of its standard channels.
    pub multiplier: f64,
    /// The widths it can run at.
    pub widths: Widths,
    /// The kind of head.
    pub head: HeadKind,
    /// Hidden channels of the projections except MoCo v2's, and of the predictors.
    pub hidden: usize,
    /// The predictors.
    pub predictors: Predictors,
    /// SwAV's prototypes, `P`: outputs of a linear layer on the embeddings, without bias. 0 for no such layer.
    pub prototypes: usize,
    /// The head's output dimension, `D`.
    pub outputs: usize,
}

/// Names the architecture, without widths and head: `ResNet-50`, `CIFAR ResNet-20 x2`.
impl fmt::Display for EncoderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.backbone.name())?;
        if self.backbone.has_sizes() {
            write!(f, "-{}", self.depth)?;
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
    view_predictors: Vec<(String, Perceptron)>,
    prototypes: Option<SlimLinear>,
}

impl EncoderConfig {
    /// Describes a network of one width with the standard channels, without predictors and prototypes. A projection has
    /// the hidden channels of its paper.
    pub fn new(backbone: BackboneKind, depth: usize, head: HeadKind, outputs: usize) -> Self {
        Self {
            backbone,
            depth,
            multiplier: 1.0,
            widths: Widths::full(),
            head,
            hidden: head.paper_hidden(),
            predictors: Predictors::None,
            prototypes: 0,
            outputs,
        }
    }

    /// Builds the architecture.
    ///
    /// # Errors
    /// If the backbone has no such depth or size, or some width would leave a layer without channels.
    pub fn build(&self) -> Result<Encoder, BuildError> {
        if self.outputs == 0 {
            return Err(BuildError::NoOutputs);
        }
        if !self.backbone.has_sizes() && (self.widths.len() > 1 || self.multiplier != 1.0) {
            return Err(BuildError::OneSize(self.backbone.name()));
        }
        let mut layout = Layout::new(self.widths.clone());
        let backbone = match self.backbone {
            BackboneKind::Cifar => cifar_resnet(&mut layout, self.depth, self.multiplier)?,
            BackboneKind::Resnet => resnet(&mut layout, Stem::Imagenet, self.depth, self.multiplier)?,
            BackboneKind::ResnetCifarStem => resnet(&mut layout, Stem::Cifar, self.depth, self.multiplier)?,
            BackboneKind::EfficientnetB0 => efficientnet(&mut layout, Size::B0, Form::Torchvision)?,
            BackboneKind::EfficientnetB1 => efficientnet(&mut layout, Size::B1, Form::Torchvision)?,
            BackboneKind::TfEfficientnetB0 => efficientnet(&mut layout, Size::B0, Form::TensorFlow)?,
            BackboneKind::TfEfficientnetB1 => efficientnet(&mut layout, Size::B1, Form::TensorFlow)?,
            BackboneKind::MobilenetV3Large => mobilenet_v3_large(&mut layout)?,
        };
        let head = Head::new(&mut layout, self.head, backbone.features(), self.hidden, self.outputs)?;
        let (hidden, outputs) = (self.hidden, self.outputs);
        let (mut predictor, mut view_predictors) = (None, Vec::new());
        match &self.predictors {
            Predictors::None => {}
            Predictors::Mocov3 => predictor = Some(Perceptron::predictor(&mut layout, hidden, outputs)?),
            Predictors::Simdis(views) => {
                for view in views {
                    let perceptron = Perceptron::view_predictor(&mut layout, view, hidden, outputs)?;
                    view_predictors.push((view.clone(), perceptron));
                }
            }
        }
        let prototypes = match self.prototypes {
            0 => None,
            count => {
                let sides = [outputs, count].map(Channels::Fixed);
                Some(SlimLinear::without_bias(&mut layout, "prototypes", sides)?)
            }
        };
        Ok(Encoder { view_predictors, prototypes, ..Encoder::from_parts(layout, backbone, head, predictor) })
    }
}

impl Encoder {
    /// Creates an encoder from its parts, such as a custom backbone. All their parameters must be in `layout`.
    pub fn from_parts(layout: Layout, backbone: Backbone, head: Head, predictor: Option<Perceptron>) -> Self {
        let layout = Arc::new(layout);
        Self { layout, backbone, head, predictor, view_predictors: Vec::new(), prototypes: None }
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

    /// Returns SimDis' predictor of this name, if it has it.
    pub fn view_predictor(&self, view: &str) -> Option<&Perceptron> {
        self.view_predictors.iter().find_map(|(name, predictor)| (name == view).then_some(predictor))
    }

    /// Returns SwAV's prototypes, `[P, D]`, if it has them.
    pub fn prototypes(&self) -> Option<&SlimLinear> {
        self.prototypes.as_ref()
    }

    /// Visits backbone and head. Shapes: images `[batch, 3, height, width]` to `[batch, D, 1, 1]`.
    pub fn visit<V: Visitor>(&self, images: V::Value, visitor: &mut V) -> V::Value {
        let features = self.backbone.visit(images, visitor);
        let features = visitor.dropout(features, self.backbone.dropout());
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
                multiplier,
                widths: Widths::try_from(widths.to_vec()).unwrap(),
                ..EncoderConfig::new(backbone, depth, HeadKind::Mocov2, 24)
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

    #[test]
    fn another_size_of_a_backbone_with_one_size_is_refused() {
        let b0 = EncoderConfig::new(BackboneKind::EfficientnetB0, 0, HeadKind::Mocov2, 16);
        let two_widths = EncoderConfig { widths: Widths::try_from(vec![1.0, 0.5]).unwrap(), ..b0.clone() };
        assert_eq!(two_widths.build().unwrap_err(), BuildError::OneSize("EfficientNet-B0"));
        assert_eq!(
            EncoderConfig { multiplier: 2.0, ..b0 }.build().unwrap_err(),
            BuildError::OneSize("EfficientNet-B0")
        );
    }

    #[test]
    fn predictors_and_prototypes_follow_the_head() {
        let config = EncoderConfig {
            hidden: 8,
            predictors: Predictors::Simdis(vec!["sema_dv".into(), "tema_dv".into()]),
            prototypes: 5,
            ..EncoderConfig::new(BackboneKind::Cifar, 8, HeadKind::Swav, 4)
        };
        let encoder = config.build().unwrap();
        let heads: Vec<_> = encoder.layout().iter().filter(|(_, spec)| spec.is_of_head()).collect();
        let weights = heads.iter().filter(|(_, spec)| spec.is_weight());
        let weights: Vec<_> = weights.map(|(_, spec)| (spec.name.as_str(), spec.named_shape())).collect();
        assert_eq!(
            weights,
            [
                ("fc.0.weight", vec![8, 64]),
                ("fc.3.weight", vec![4, 8]),
                ("pred_sema_dv.0.weight", vec![8, 4]),
                ("pred_sema_dv.3.weight", vec![4, 8]),
                ("pred_tema_dv.0.weight", vec![8, 4]),
                ("pred_tema_dv.3.weight", vec![4, 8]),
                ("prototypes.weight", vec![5, 4]),
            ]
        );
        assert!(encoder.view_predictor("tema_dv").is_some() && encoder.view_predictor("t_dv").is_none());
        assert!(encoder.prototypes().is_some() && encoder.predictor().is_none());
    }
}
