//! ResNet v1.5 for ImageNet-sized images (He et al. 2016, table 1).

use super::{Backbone, Block, ConvNorm, ConvNormShape, Stage, multiplied, residual::Residual};
use crate::{error::BuildError, layout::Layout, width::Channels};

/// Channels of the stem, and of the first stage before bottleneck expansion.
pub const BASE: usize = 64;

/// Ratio of a bottleneck block's output to its middle channels.
const EXPANSION: usize = 4;

/// Builds a ResNet of `depth` layers, the channels of each layer times `multiplier`: a 7x7/2 stem, 3x3/2 max pooling,
/// four stages of basic (18, 34) or bottleneck blocks (50, 101, 152).
///
/// # Errors
/// If `depth` is not one of these, or the multiplier or some width would leave a layer without channels.
pub fn resnet(layout: &mut Layout, depth: usize, multiplier: f64) -> Result<Backbone, BuildError> {
    let (counts, bottleneck) = match depth {
        18 => ([2, 2, 2, 2], false),
        34 => ([3, 4, 6, 3], false),
        50 => ([3, 4, 6, 3], true),
        101 => ([3, 4, 23, 3], true),
        152 => ([3, 8, 36, 3], true),
        _ => return Err(BuildError::Depth { depth, known: "18, 34, 50, 101, 152" }),
    };
    let mut inputs = multiplied(BASE, multiplier)?;
    let stem = ConvNormShape { sides: [Channels::IMAGE, inputs], kernel: 7, stride: 2, gamma: 1.0 };
    let stem = ConvNorm::new(layout, ["conv1", "bn1"], stem)?;
    let mut stages = vec![Stage::stem(vec![Block::ConvRelu(stem), Block::MaxPool])];
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
