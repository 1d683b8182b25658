//! Backbones: stages of blocks, then global average pooling.

pub mod cifar;
pub mod efficientnet;
mod residual;
pub mod resnet;

use self::{efficientnet::InvertedResidual, residual::Residual};
use crate::{
    encoder::BuildError,
    parameter::Layout,
    slim::{SlimConv2d, SwitchableBatchNorm},
    walk::{Then, Walk},
    width::{Channels, WidthError, portion},
};

/// Colour planes of the input image.
const IMAGE: Channels = Channels::Fixed(3);

/// A layer's standard `channels` times the network's `multiplier`, rounded as a width's are: alone or as a slice, a
/// network of half the channels has the same.
///
/// # Errors
/// If none are left.
fn multiplied(channels: usize, multiplier: f64) -> Result<Channels, BuildError> {
    match portion(channels, multiplier) {
        0 => Err(BuildError::NoChannels { multiplier, channels }),
        multiplied => Ok(Channels::Slim(multiplied)),
    }
}

/// A network without its head.
#[derive(Debug, Clone)]
pub struct Backbone {
    stages: Vec<Stage>,
    features: Channels,
}

/// Blocks in a row, mostly of one resolution.
#[derive(Debug, Clone)]
struct Stage {
    name: String,
    blocks: Vec<Block>,
}

/// What stages are made of.
#[derive(Debug, Clone)]
pub enum Block {
    /// Convolution, norm, ReLU.
    ConvRelu(ConvNorm),
    /// Convolution, norm, SiLU.
    ConvSilu(ConvNorm),
    /// 3x3 max pooling of stride 2.
    MaxPool,
    /// A ResNet's.
    Residual(Residual),
    /// EfficientNet's.
    InvertedResidual(InvertedResidual),
}

impl Backbone {
    /// The channels of its output, `F` of spec section 1.
    pub fn features(&self) -> Channels {
        self.features
    }

    /// From images, `[batch, 3, height, width]`, to features, `[batch, F, 1, 1]`.
    pub fn walk<W: Walk>(&self, images: W::Value, walk: &mut W) -> W::Value {
        let (stem, stages) = self.stages.split_first().expect("a backbone has a stem");
        walk.stage(&stem.name);
        let mut x = stem.blocks.iter().fold(images, |x, block| block.walk(x, walk));
        for Stage { name, blocks } in stages {
            walk.stage(name);
            x = blocks.iter().fold(x, |x, block| walk.block(x, block));
        }
        walk.average_pool(x)
    }
}

impl Stage {
    /// The layers before the first block.
    fn stem(blocks: Vec<Block>) -> Self {
        Self { name: "stem".into(), blocks }
    }

    /// The blocks of the stage `number`, from 1.
    fn numbered(number: usize, blocks: Vec<Block>) -> Self {
        Self { name: format!("stage {number}"), blocks }
    }
}

impl Block {
    /// From its input, `[batch, channels, height, width]`, to its output.
    pub fn walk<W: Walk>(&self, x: W::Value, walk: &mut W) -> W::Value {
        match self {
            Self::ConvRelu(conv) => conv.walk(x, Then::Relu, walk),
            Self::ConvSilu(conv) => conv.walk_silu(x, walk),
            Self::MaxPool => walk.max_pool(x),
            Self::Residual(block) => block.walk(x, walk),
            Self::InvertedResidual(block) => block.walk(x, walk),
        }
    }
}

/// A convolution and its norm.
#[derive(Debug, Clone)]
pub struct ConvNorm {
    conv: SlimConv2d,
    norm: SwitchableBatchNorm,
}

/// Sides and form of a [`ConvNorm`].
struct ConvNormShape {
    sides: [Channels; 2],
    kernel: usize,
    stride: usize,
    /// Initial scale of the norm.
    gamma: f64,
}

impl ConvNorm {
    fn new(layout: &mut Layout, [conv, norm]: [&str; 2], shape: ConvNormShape) -> Result<Self, WidthError> {
        Ok(Self {
            conv: SlimConv2d::new(layout, conv, shape.sides, shape.kernel, shape.stride)?,
            norm: SwitchableBatchNorm::new(layout, norm, shape.sides[1], shape.gamma)?,
        })
    }

    fn walk<W: Walk>(&self, x: W::Value, then: Then<W::Value>, walk: &mut W) -> W::Value {
        let x = walk.conv(x, &self.conv);
        walk.norm(x, &self.norm, then)
    }

    fn walk_silu<W: Walk>(&self, x: W::Value, walk: &mut W) -> W::Value {
        let x = self.walk(x, Then::Nothing, walk);
        walk.silu(x)
    }
}
