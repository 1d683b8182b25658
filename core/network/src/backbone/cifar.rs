//! The ResNet for small images (He et al. 2016, section 4.2), with projection shortcuts.

use super::{Backbone, Block, ConvNorm, ConvNormShape, Stage, multiplied, residual::Residual};
use crate::{error::BuildError, layout::Layout, width::Channels};

/// Channels of the stem and the first stage.
pub const BASE: usize = 16;

/// Builds a 3x3 stem and three stages of basic blocks with 16, 32 and 64 channels, each times `multiplier`.
///
/// # Errors
/// If `depth` is not `6 n + 2` (20, 32, 44, 56 and 110 are the usual ones), or the multiplier
/// or some width would leave a layer without channels.
pub fn cifar_resnet(layout: &mut Layout, depth: usize, multiplier: f64) -> Result<Backbone, BuildError> {
    if depth < 8 || depth % 6 != 2 {
        return Err(BuildError::Depth { depth, known: "6 n + 2: 8, 14, 20, 32, 44, 56, 110" });
    }
    let per_stage = (depth - 2) / 6;
    let mut inputs = multiplied(BASE, multiplier)?;
    let stem = ConvNormShape { sides: [Channels::IMAGE, inputs], kernel: 3, stride: 1, gamma: 1.0 };
    let stem = ConvNorm::new(layout, ["conv1", "bn1"], stem)?;
    let mut stages = vec![Stage::stem(vec![Block::ConvRelu(stem)])];
    for stage in 0..3 {
        let outputs = multiplied(BASE << stage, multiplier)?;
        let mut blocks = Vec::with_capacity(per_stage);
        for place in 0..per_stage {
            let stride = if place == 0 && stage > 0 { 2 } else { 1 };
            let name = format!("features.{}", stage * per_stage + place);
            blocks.push(Block::Residual(Residual::cifar(layout, &name, [inputs, outputs], stride)?));
            inputs = outputs;
        }
        stages.push(Stage::numbered(stage + 1, blocks));
    }
    Ok(Backbone::new(stages, inputs))
}
