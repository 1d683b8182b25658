//! MobileNetV3-Large (Howard et al. 2019, table 1), a small network that SEED and Shi et al. train. It is not slimmable.
//!
//! It is that of their code, in names and order of layers: squeeze-excitation comes before the activation of the
//! depthwise convolution, after which torchvision and timm have it.

use super::{
    Backbone, Block, ConvNorm, ConvNormShape, Stage,
    activation::Activation,
    inverted_residual::{BlockNames, BlockShape, GateKind, InvertedResidual},
};
use crate::{
    error::BuildError,
    layers::{NormConstants, Padding, SlimConv2d},
    layout::Layout,
    width::{Channels, WidthError},
};

/// A block, without its input channels.
struct Row {
    /// Side of the depthwise kernel.
    kernel: usize,
    middle: usize,
    outputs: usize,
    /// Channels inside the squeeze-excitation; 0 if there is none.
    squeezed: usize,
    activation: Activation,
    stride: usize,
}

const fn row(kernel: usize, channels: [usize; 3], activation: Activation, stride: usize) -> Row {
    let [middle, outputs, squeezed] = channels;
    Row { kernel, middle, outputs, squeezed, activation, stride }
}

/// The blocks between stem and last convolution. Those with as many outputs are one stage.
const BLOCKS: [Row; 15] = [
    row(3, [16, 16, 0], Activation::Relu, 1),
    row(3, [64, 24, 0], Activation::Relu, 2),
    row(3, [72, 24, 0], Activation::Relu, 1),
    row(5, [72, 40, 24], Activation::Relu, 2),
    row(5, [120, 40, 32], Activation::Relu, 1),
    row(5, [120, 40, 32], Activation::Relu, 1),
    row(3, [240, 80, 0], Activation::HardSwish, 2),
    row(3, [200, 80, 0], Activation::HardSwish, 1),
    row(3, [184, 80, 0], Activation::HardSwish, 1),
    row(3, [184, 80, 0], Activation::HardSwish, 1),
    row(3, [480, 112, 120], Activation::HardSwish, 1),
    row(3, [672, 112, 168], Activation::HardSwish, 1),
    row(5, [672, 160, 168], Activation::HardSwish, 2),
    row(5, [960, 160, 240], Activation::HardSwish, 1),
    row(5, [960, 160, 240], Activation::HardSwish, 1),
];
/// Channels of the stem.
const STEM: usize = 16;
/// Channels of the last convolution.
const LAST: Channels = Channels::Fixed(960);
/// Channels of the layer after the pooling.
const FEATURES: Channels = Channels::Fixed(1280);
/// Probability of dropout before the head.
const DROPOUT: f64 = 0.2;

/// Builds a MobileNetV3-Large. Its features are those of the linear layer after the pooling, `classifier.0`.
///
/// # Errors
/// If some width would have no channels.
pub fn mobilenet_v3_large(layout: &mut Layout) -> Result<Backbone, BuildError> {
    let stem = conv_norm(layout, "features.0", [Channels::IMAGE, Channels::Fixed(STEM)], [3, 2])?;
    let mut stages = vec![Stage::stem(vec![Block::ConvHardSwish(stem)])];
    let (mut inputs, mut numbers) = (STEM, 1..);
    for (stage, rows) in (1..).zip(BLOCKS.chunk_by(|a, b| a.outputs == b.outputs)) {
        let mut blocks = Vec::with_capacity(rows.len());
        for (row, number) in rows.iter().zip(&mut numbers) {
            let shape = BlockShape {
                inputs,
                middle: row.middle,
                outputs: row.outputs,
                kernel: row.kernel,
                stride: row.stride,
                padding: Padding::Symmetric,
                norms: NormConstants::PYTORCH,
                activation: row.activation,
                gate: (row.squeezed > 0).then_some((row.squeezed, GateKind::Mobilenet)),
                dropped: 0.0,
            };
            let names = block_names(number, shape.expands());
            blocks.push(Block::InvertedResidual(InvertedResidual::new(layout, &names, &shape)?.into()));
            inputs = row.outputs;
        }
        stages.push(Stage::numbered(stage, blocks));
    }
    let last = conv_norm(layout, "conv", [Channels::Fixed(inputs), LAST], [1, 1])?;
    stages.push(Stage::new("last conv", vec![Block::ConvHardSwish(last)]));
    let classifier = SlimConv2d::pointwise_with_bias(layout, "classifier.0", [LAST, FEATURES])?;
    let after_pooling = vec![Block::PointwiseHardSwish(classifier)];
    Ok(Backbone::new(stages, LAST).with_layers_after_pooling(after_pooling, FEATURES).with_dropout(DROPOUT))
}

/// Names the layers of a block by their places in a `Sequential`, of which activations take places too.
fn block_names(number: usize, expands: bool) -> BlockNames {
    let layer = |place: usize| format!("features.{number}.conv.{place}");
    let [depthwise, gate, projection] = if expands { [3, 5, 7] } else { [0, 3, 4] };
    BlockNames {
        expansion: [0, 1].map(layer),
        depthwise: [depthwise, depthwise + 1].map(layer),
        gate: [0, 2].map(|part| format!("{}.fc.{part}", layer(gate))),
        projection: [projection, projection + 1].map(layer),
    }
}

fn conv_norm(
    layout: &mut Layout,
    name: &str,
    sides: [Channels; 2],
    [kernel, stride]: [usize; 2],
) -> Result<ConvNorm, WidthError> {
    let names = [format!("{name}.0"), format!("{name}.1")];
    let shape = ConvNormShape { sides, kernel, stride, gamma: 1.0 };
    ConvNorm::new(layout, names.each_ref().map(String::as_str), shape)
}
