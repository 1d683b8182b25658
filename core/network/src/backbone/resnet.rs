//! ResNet v1.5 (He et al. 2016, table 1), and the same for small images.

use super::{Backbone, Block, ConvNorm, ConvNormShape, Stage, multiplied, residual::Residual};
use crate::{error::BuildError, layout::Layout, width::Channels};

/// Channels of the stem, and of the first stage before bottleneck expansion.
pub const BASE: usize = 64;

/// Ratio of a bottleneck block's output to its middle channels.
const EXPANSION: usize = 4;

/// The layers before the first stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stem {
    /// A 7x7/2 convolution and 3x3/2 max pooling.
    Imagenet,
    /// A 3x3 convolution, as is usual for images of CIFAR-10's size (Chen et al. 2020, appendix B.9).
    Cifar,
}

/// Builds a ResNet of `depth` layers, the channels of each layer times `multiplier`: the stem, and four stages of basic
/// (18, 34) or bottleneck blocks (50, 101, 152).
///
/// # Errors
/// If `depth` is not one of these, or the multiplier or some width would leave a layer without channels.
pub fn resnet(layout: &mut Layout, stem: Stem, depth: usize, multiplier: f64) -> Result<Backbone, BuildError> {
    let (counts, bottleneck) = match depth {
        18 => ([2, 2, 2, 2], false),
        34 => ([3, 4, 6, 3], false),
        50 => ([3, 4, 6, 3], true),
        101 => ([3, 4, 23, 3], true),
        152 => ([3, 8, 36, 3], true),
        _ => return Err(BuildError::Depth { depth, known: "18, 34, 50, 101, 152" }),
    };
    let mut inputs = multiplied(BASE, multiplier)?;
    let (kernel, stride, pool) = match stem {
        Stem::Imagenet => (7, 2, Some(Block::MaxPool)),
        Stem::Cifar => (3, 1, None),
    };
    let convolution = ConvNormShape { sides: [Channels::IMAGE, inputs], kernel, stride, gamma: 1.0 };
    let convolution = Block::ConvRelu(ConvNorm::new(layout, ["conv1", "bn1"], convolution)?);
    let mut stages = vec![Stage::stem([convolution].into_iter().chain(pool).collect())];
    let mut places = 0..;
    for (stage, count) in counts.into_iter().enumerate() {
        let middle = multiplied(BASE << stage, multiplier)?;
        let outputs = if bottleneck { multiplied((BASE << stage) * EXPANSION, multiplier)? } else { middle };
        let mut blocks = Vec::with_capacity(count);
        for (place, number) in (0..count).zip(&mut places) {
            let stride = if place == 0 && stage > 0 { 2 } else { 1 };
            let name = format!("features.{number}");
            blocks.push(Block::Residual(if bottleneck {
                Residual::bottleneck(layout, &name, [inputs, middle, outputs], stride)?
            } else {
                Residual::basic(layout, &name, [inputs, outputs], stride)?
            }));
            inputs = outputs;
        }
        stages.push(Stage::numbered(stage + 1, blocks));
    }
    Ok(Backbone::new(stages, inputs))
}
