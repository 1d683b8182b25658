//! Backbones: stages of blocks, then global average pooling.

mod activation;
pub mod cifar;
pub mod efficientnet;
mod inverted_residual;
pub mod mobilenet;
mod residual;
pub mod resnet;

use self::{activation::Activation, inverted_residual::InvertedResidual, residual::Residual};
use crate::{
    error::BuildError,
    layers::{NormConstants, Padding, SlimConv2d, SwitchableBatchNorm},
    layout::Layout,
    visitor::{Epilogue, Visit, Visitor},
    width::{Channels, WidthError, portion},
};

/// Returns `channels` times `multiplier`, rounded as for a width, so that a network with multiplier 0.5 has the
/// channels of width 0.5.
///
/// # Errors
/// If no channels are left.
fn multiplied(channels: usize, multiplier: f64) -> Result<Channels, BuildError> {
    match portion(channels, multiplier) {
        0 => Err(BuildError::NoChannels { multiplier, channels }),
        multiplied => Ok(Channels::Slim(multiplied)),
    }
}

/// A network without its head: a stem, stages of blocks, global average pooling, and perhaps layers on the averages.
#[derive(Debug, Clone)]
pub struct Backbone {
    stages: Vec<Stage>,
    after_pooling: Vec<Block>,
    features: Channels,
    /// Probability of dropout between features and head.
    dropout: f64,
}

/// A sequence of blocks, mostly of one resolution.
#[derive(Debug, Clone)]
pub struct Stage {
    name: String,
    blocks: Vec<Block>,
}

/// A layer or group of layers of a stage.
#[derive(Debug, Clone)]
pub enum Block {
    /// Convolution, norm, ReLU.
    ConvRelu(ConvNorm),
    /// Convolution, norm, SiLU.
    ConvSilu(ConvNorm),
    /// Convolution, norm, hard swish.
    ConvHardSwish(ConvNorm),
    /// A 1x1 convolution with bias, which is a linear layer of each pixel, then hard swish.
    PointwiseHardSwish(SlimConv2d),
    /// 3x3 max pooling of stride 2.
    MaxPool,
    /// A ResNet's block.
    Residual(Residual),
    /// A block of an EfficientNet or a MobileNetV3.
    InvertedResidual(Box<InvertedResidual>),
}

impl Backbone {
    /// Creates a backbone of these stages, the stem first, whose last block has `features` output channels.
    ///
    /// # Panics
    /// If `stages` is empty.
    pub fn new(stages: Vec<Stage>, features: Channels) -> Self {
        assert!(!stages.is_empty(), "a backbone has a stem");
        Self { stages, after_pooling: Vec::new(), features, dropout: 0.0 }
    }

    /// Adds blocks after the pooling, the last with `features` output channels. They count to the last stage.
    pub fn with_layers_after_pooling(self, blocks: Vec<Block>, features: Channels) -> Self {
        Self { after_pooling: blocks, features, ..self }
    }

    /// Sets the probability with which training drops features before the head.
    pub fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// Returns the probability with which training drops features before the head.
    pub fn dropout(&self) -> f64 {
        self.dropout
    }

    /// Returns the output channels, `F`.
    pub fn features(&self) -> Channels {
        self.features
    }

    /// Visits every layer. Shapes: images `[batch, 3, height, width]` to features `[batch, F, 1, 1]`.
    pub fn visit<V: Visitor>(&self, images: V::Value, visitor: &mut V) -> V::Value {
        let (stem, stages) = self.stages.split_first().expect("checked when it was made");
        visitor.stage(&stem.name);
        let mut x = stem.blocks.iter().fold(images, |x, block| block.visit(x, visitor));
        for Stage { name, blocks } in stages {
            visitor.stage(name);
            x = blocks.iter().fold(x, |x, block| visitor.block(x, block));
        }
        let averages = visitor.average_pool(x);
        self.after_pooling.iter().fold(averages, |x, block| visitor.block(x, block))
    }
}

impl Stage {
    /// Creates a stage of these blocks. Figures and profiles show its name.
    pub fn new(name: impl Into<String>, blocks: Vec<Block>) -> Self {
        Self { name: name.into(), blocks }
    }

    /// Creates the stage of the layers before the first block.
    fn stem(blocks: Vec<Block>) -> Self {
        Self::new("stem", blocks)
    }

    /// Creates the stage `number`, counted from 1.
    fn numbered(number: usize, blocks: Vec<Block>) -> Self {
        Self::new(format!("stage {number}"), blocks)
    }
}

impl Visit for Block {
    /// Shapes: `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value {
        match self {
            Self::ConvRelu(conv) => conv.visit_activated(x, Activation::Relu, visitor),
            Self::ConvSilu(conv) => conv.visit_activated(x, Activation::Silu, visitor),
            Self::ConvHardSwish(conv) => conv.visit_activated(x, Activation::HardSwish, visitor),
            Self::PointwiseHardSwish(conv) => {
                let x = visitor.conv(x, conv);
                visitor.hard_swish(x)
            }
            Self::MaxPool => visitor.max_pool(x),
            Self::Residual(block) => block.visit(x, visitor),
            Self::InvertedResidual(block) => block.visit(x, visitor),
        }
    }
}

/// A convolution and its norm.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    conv: SlimConv2d,
    norm: SwitchableBatchNorm,
}

/// The shape of a [`ConvNorm`].
#[derive(Debug, Clone, Copy)]
pub struct ConvNormShape {
    /// Input and output channels.
    pub sides: [Channels; 2],
    /// Side of the square kernel, in pixels.
    pub kernel: usize,
    /// Stride in pixels.
    pub stride: usize,
    /// Initial scale of the norm.
    pub gamma: f64,
}

impl ConvNorm {
    /// Creates a convolution and a norm with these names.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(layout: &mut Layout, [conv, norm]: [&str; 2], shape: ConvNormShape) -> Result<Self, WidthError> {
        Ok(Self {
            conv: SlimConv2d::new(layout, conv, shape.sides, shape.kernel, shape.stride)?,
            norm: SwitchableBatchNorm::new(layout, norm, shape.sides[1], shape.gamma)?,
        })
    }

    /// Returns the same layers with this padding and these constants.
    fn with(self, padding: Padding, constants: NormConstants) -> Self {
        Self { conv: self.conv.padded(padding), norm: self.norm.with_constants(constants) }
    }

    fn visit<V: Visitor>(&self, x: V::Value, epilogue: Epilogue<V::Value>, visitor: &mut V) -> V::Value {
        let x = visitor.conv(x, &self.conv);
        visitor.norm(x, &self.norm, epilogue)
    }

    fn visit_activated<V: Visitor>(&self, x: V::Value, activation: Activation, visitor: &mut V) -> V::Value {
        if activation == Activation::Relu {
            return self.visit(x, Epilogue::Relu, visitor);
        }
        let x = self.visit(x, Epilogue::Nothing, visitor);
        activation.visit(x, visitor)
    }
}
