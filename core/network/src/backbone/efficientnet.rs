//! EfficientNet-B0 and B1 (Tan & Le 2019, table 1), which the paper and SEED compare with. They are not slimmable.
//!
//! Two implementations have published weights, which differ in names, padding and the constants of norms ([`Form`]).
//! Both train with dropout and stochastic depth.

use super::{
    Backbone, Block, ConvNorm, ConvNormShape, Stage,
    activation::Activation,
    inverted_residual::{BlockNames, BlockShape, GateKind, InvertedResidual},
};
use crate::{
    error::BuildError,
    layers::{NormConstants, Padding},
    layout::Layout,
    width::{Channels, WidthError},
};

/// The stages of B0 between stem and last convolution.
const STAGES: [StageShape; 7] = [
    StageShape { count: 1, expansion: 1, kernel: 3, stride: 1, outputs: 16 },
    StageShape { count: 2, expansion: 6, kernel: 3, stride: 2, outputs: 24 },
    StageShape { count: 2, expansion: 6, kernel: 5, stride: 2, outputs: 40 },
    StageShape { count: 3, expansion: 6, kernel: 3, stride: 2, outputs: 80 },
    StageShape { count: 3, expansion: 6, kernel: 5, stride: 1, outputs: 112 },
    StageShape { count: 4, expansion: 6, kernel: 5, stride: 2, outputs: 192 },
    StageShape { count: 1, expansion: 6, kernel: 3, stride: 1, outputs: 320 },
];
/// Channels of the stem.
const STEM: usize = 32;
/// Channels of the last convolution.
const FEATURES: Channels = Channels::Fixed(1280);
/// Ratio of a block's input channels to those inside its squeeze-excitation.
const SQUEEZE: usize = 4;
/// Probability of dropout before the head.
const DROPOUT: f64 = 0.2;
/// Probability of stochastic depth after the last block, up to which it rises from 0 at the first one.
const STOCHASTIC_DEPTH: f64 = 0.2;

/// The blocks of a stage.
struct StageShape {
    count: usize,
    /// Ratio of the expanded to the input channels; 1 for no expansion.
    expansion: usize,
    /// Side of the depthwise kernel.
    kernel: usize,
    /// Stride of the first block; the others have stride 1.
    stride: usize,
    outputs: usize,
}

/// A published size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// The smallest.
    B0,
    /// With 1.1 times as many blocks in each stage, rounded up, for larger images.
    B1,
}

impl Size {
    fn blocks(self, of_b0: usize) -> usize {
        match self {
            Self::B0 => of_b0,
            Self::B1 => (11 * of_b0).div_ceil(10),
        }
    }

    /// Returns the side of the images that it was designed for, in pixels.
    fn resolution(self) -> usize {
        match self {
            Self::B0 => 224,
            Self::B1 => 240,
        }
    }
}

/// A published implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// torchvision's, and timm's of the same name.
    Torchvision,
    /// Google's in TensorFlow, as efficientnet_pytorch has it, and with it SEED, BINGO and Shi et al.: "same" padding
    /// as at the network's own [resolution](Size::resolution), whatever the images' size.
    TensorFlow,
}

impl Form {
    fn norms(self) -> NormConstants {
        match self {
            Self::Torchvision => NormConstants::PYTORCH,
            Self::TensorFlow => NormConstants::TENSORFLOW,
        }
    }

    /// Returns the padding of a convolution with stride 2 whose input has sides of `side` pixels at the network's own
    /// resolution.
    fn padding(self, side: usize) -> Padding {
        if self == Self::TensorFlow && side.is_multiple_of(2) { Padding::TensorFlow } else { Padding::Symmetric }
    }

    fn stem(self) -> [&'static str; 2] {
        match self {
            Self::Torchvision => ["features.0.0", "features.0.1"],
            Self::TensorFlow => ["_conv_stem", "_bn0"],
        }
    }

    fn last_conv(self) -> [&'static str; 2] {
        match self {
            Self::Torchvision => ["features.8.0", "features.8.1"],
            Self::TensorFlow => ["_conv_head", "_bn1"],
        }
    }

    /// Names the layers of the block at `place` in the stage `stage`, counted from 1, the block `number` of the network.
    fn block(self, [stage, place, number]: [usize; 3], expands: bool) -> BlockNames {
        match self {
            Self::Torchvision => {
                let layer = |index| format!("features.{stage}.{place}.block.{index}");
                let conv_norm = |index| [0, 1].map(|part| format!("{}.{part}", layer(index)));
                let depthwise = usize::from(expands);
                BlockNames {
                    expansion: conv_norm(0),
                    depthwise: conv_norm(depthwise),
                    gate: ["fc1", "fc2"].map(|part| format!("{}.{part}", layer(depthwise + 1))),
                    projection: conv_norm(depthwise + 2),
                }
            }
            Self::TensorFlow => {
                let named = |parts: [&str; 2]| parts.map(|part| format!("_blocks.{number}.{part}"));
                BlockNames {
                    expansion: named(["_expand_conv", "_bn0"]),
                    depthwise: named(["_depthwise_conv", "_bn1"]),
                    gate: named(["_se_reduce", "_se_expand"]),
                    projection: named(["_project_conv", "_bn2"]),
                }
            }
        }
    }
}

/// Builds an EfficientNet, with the layer names of its implementation.
///
/// # Errors
/// If some width would have no channels.
pub fn efficientnet(layout: &mut Layout, size: Size, form: Form) -> Result<Backbone, BuildError> {
    let mut side = size.resolution();
    let stem = ConvNormShape { sides: [Channels::IMAGE, Channels::Fixed(STEM)], kernel: 3, stride: 2, gamma: 1.0 };
    let stem = conv_norm(layout, form, form.stem(), stem, side)?;
    side = side.div_ceil(2);
    let mut stages = vec![Stage::stem(vec![Block::ConvSilu(stem)])];
    let blocks_in_all: usize = STAGES.iter().map(|stage| size.blocks(stage.count)).sum();
    let (mut inputs, mut numbers) = (STEM, 0..);
    for (stage, shape) in (1..).zip(&STAGES) {
        let mut blocks = Vec::with_capacity(size.blocks(shape.count));
        for (place, number) in (0..size.blocks(shape.count)).zip(&mut numbers) {
            let stride = if place == 0 { shape.stride } else { 1 };
            let block = BlockShape {
                inputs,
                middle: inputs * shape.expansion,
                outputs: shape.outputs,
                kernel: shape.kernel,
                stride,
                padding: form.padding(side),
                norms: form.norms(),
                activation: Activation::Silu,
                gate: Some((inputs / SQUEEZE, GateKind::Efficientnet)),
                dropped: STOCHASTIC_DEPTH * number as f64 / blocks_in_all as f64,
            };
            let names = form.block([stage, place, number], block.expands());
            blocks.push(Block::InvertedResidual(InvertedResidual::new(layout, &names, &block)?.into()));
            inputs = shape.outputs;
            side = side.div_ceil(stride);
        }
        stages.push(Stage::numbered(stage, blocks));
    }
    let last = ConvNormShape { sides: [Channels::Fixed(inputs), FEATURES], kernel: 1, stride: 1, gamma: 1.0 };
    let last = conv_norm(layout, form, form.last_conv(), last, side)?;
    stages.push(Stage::new("last conv", vec![Block::ConvSilu(last)]));
    Ok(Backbone::new(stages, FEATURES).with_dropout(DROPOUT))
}

/// Builds a convolution and its norm, for input with sides of `side` pixels at the network's own resolution.
fn conv_norm(
    layout: &mut Layout,
    form: Form,
    names: [&str; 2],
    shape: ConvNormShape,
    side: usize,
) -> Result<ConvNorm, WidthError> {
    let padding = if shape.stride == 1 { Padding::Symmetric } else { form.padding(side) };
    Ok(ConvNorm::new(layout, names, shape)?.with(padding, form.norms()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::width::Widths;

    fn names(size: Size, form: Form) -> Vec<String> {
        let mut layout = Layout::new(Widths::full());
        efficientnet(&mut layout, size, form).unwrap();
        layout.iter().map(|(_, spec)| spec.name.replace(".bn.0.", ".")).collect()
    }

    #[test]
    fn tensorflows_form_has_the_published_names() {
        let names = names(Size::B1, Form::TensorFlow);
        let blocks = |name: &str| Some(name.strip_prefix("_blocks.")?.split_once('.')?.0.parse::<usize>().unwrap());
        assert_eq!(names.iter().filter_map(|name| blocks(name)).max(), Some(22));
        for name in [
            "_conv_stem.weight",
            "_bn0.running_var",
            "_blocks.0._depthwise_conv.weight",
            "_blocks.2._expand_conv.weight",
            "_blocks.2._bn0.bias",
            "_blocks.2._se_reduce.bias",
            "_blocks.22._bn2.running_mean",
            "_conv_head.weight",
            "_bn1.weight",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        assert!(!names.iter().any(|name| name.starts_with("_blocks.0._expand_conv")));
    }
}
