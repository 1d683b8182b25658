//! EfficientNet-B0 (Tan & Le 2019, table 1), the small network that the paper compares with. It is not slimmable.
//!
//! Stochastic depth, with which torchvision trains it, is left out.

use super::{Backbone, Block, ConvNorm, ConvNormShape, Stage};
use crate::{
    error::BuildError,
    layers::SlimConv2d,
    layout::Layout,
    visitor::{Epilogue, Visitor},
    width::{Channels, WidthError},
};

/// The stages between stem and last convolution.
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
const STEM: Channels = Channels::Fixed(32);
/// Channels of the last convolution.
const FEATURES: Channels = Channels::Fixed(1280);
/// Input channels of each output of a depthwise convolution.
const ONE_CHANNEL: Channels = Channels::Fixed(1);
/// Ratio of a block's input channels to those inside its squeeze-excitation.
const SQUEEZE: usize = 4;

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

/// Builds EfficientNet-B0, with torchvision's layer names.
///
/// # Errors
/// If there are sub-networks, or `multiplier` is not 1.
pub fn efficientnet_b0(layout: &mut Layout, multiplier: f64) -> Result<Backbone, BuildError> {
    if layout.widths().len() > 1 || multiplier != 1.0 {
        return Err(BuildError::OneSize);
    }
    let stem = conv_norm(layout, "features.0", [Channels::IMAGE, STEM], 3, 2)?;
    let mut stages = vec![Stage::stem(vec![Block::ConvSilu(stem)])];
    let mut inputs = STEM;
    for (number, shape) in (1..).zip(&STAGES) {
        let mut blocks = Vec::with_capacity(shape.count);
        for place in 0..shape.count {
            let shape = StageShape { stride: if place == 0 { shape.stride } else { 1 }, ..*shape };
            let name = format!("features.{number}.{place}.block");
            blocks.push(Block::InvertedResidual(InvertedResidual::new(layout, &name, inputs, &shape)?));
            inputs = Channels::Fixed(shape.outputs);
        }
        stages.push(Stage::numbered(number, blocks));
    }
    let last = conv_norm(layout, "features.8", [inputs, FEATURES], 1, 1)?;
    stages.push(Stage::new("last conv", vec![Block::ConvSilu(last)]));
    Ok(Backbone::new(stages, FEATURES))
}

/// Builds a convolution and its norm, named `name.0` and `name.1` as in torchvision.
fn conv_norm(
    layout: &mut Layout,
    name: &str,
    sides: [Channels; 2],
    kernel: usize,
    stride: usize,
) -> Result<ConvNorm, WidthError> {
    let names = [format!("{name}.0"), format!("{name}.1")];
    let shape = ConvNormShape { sides, kernel, stride, gamma: 1.0 };
    ConvNorm::new(layout, names.each_ref().map(String::as_str), shape)
}

/// An inverted residual block (Sandler et al. 2018): expansion, depthwise convolution, squeeze-excitation and
/// projection, plus the input if the shape is unchanged.
#[derive(Debug, Clone)]
pub struct InvertedResidual {
    /// `None` if the expansion is 1.
    expansion: Option<ConvNorm>,
    depthwise: ConvNorm,
    gate: SqueezeExcitation,
    projection: ConvNorm,
    adds_input: bool,
}

impl InvertedResidual {
    fn new(layout: &mut Layout, name: &str, inputs: Channels, shape: &StageShape) -> Result<Self, WidthError> {
        let [middle, outputs] = [inputs.full() * shape.expansion, shape.outputs].map(Channels::Fixed);
        let expands = shape.expansion > 1;
        let [depthwise, gate, projection] = [0, 1, 2].map(|place| format!("{name}.{}", usize::from(expands) + place));
        let expand = |layout: &mut Layout| conv_norm(layout, &format!("{name}.0"), [inputs, middle], 1, 1);
        let squeezed = Channels::Fixed(inputs.full() / SQUEEZE);
        Ok(Self {
            expansion: expands.then(|| expand(layout)).transpose()?,
            depthwise: conv_norm(layout, &depthwise, [ONE_CHANNEL, middle], shape.kernel, shape.stride)?,
            gate: SqueezeExcitation::new(layout, &gate, [middle, squeezed])?,
            projection: conv_norm(layout, &projection, [middle, outputs], 1, 1)?,
            adds_input: shape.stride == 1 && inputs == outputs,
        })
    }

    pub(super) fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value {
        let mut inner = x.clone();
        for layer in self.expansion.iter().chain([&self.depthwise]) {
            inner = layer.visit_silu(inner, visitor);
        }
        let inner = self.gate.visit(inner, visitor);
        let inner = self.projection.visit(inner, Epilogue::Nothing, visitor);
        if self.adds_input { visitor.add(inner, x) } else { inner }
    }
}

/// Squeeze-excitation: scales each channel by a factor between 0 and 1, computed from all channels' means (Hu et al.
/// 2018).
#[derive(Debug, Clone)]
struct SqueezeExcitation {
    squeeze: SlimConv2d,
    excite: SlimConv2d,
}

impl SqueezeExcitation {
    fn new(layout: &mut Layout, name: &str, [channels, squeezed]: [Channels; 2]) -> Result<Self, WidthError> {
        Ok(Self {
            squeeze: SlimConv2d::pointwise_with_bias(layout, &format!("{name}.fc1"), [channels, squeezed])?,
            excite: SlimConv2d::pointwise_with_bias(layout, &format!("{name}.fc2"), [squeezed, channels])?,
        })
    }

    fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value {
        let averages = visitor.average_pool(x.clone());
        let squeezed = visitor.conv(averages, &self.squeeze);
        let squeezed = visitor.silu(squeezed);
        let excited = visitor.conv(squeezed, &self.excite);
        let factor = visitor.sigmoid(excited);
        visitor.multiply(x, factor)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        encoder::{BackboneKind, EncoderConfig},
        error::BuildError,
        head::HeadKind,
        width::Widths,
    };

    fn config() -> EncoderConfig {
        EncoderConfig::new(BackboneKind::EfficientnetB0, 0, HeadKind::Mocov2, 16)
    }

    #[test]
    fn another_size_is_refused() {
        let two_widths = EncoderConfig { widths: Widths::try_from(vec![1.0, 0.5]).unwrap(), ..config() };
        assert_eq!(two_widths.build().unwrap_err(), BuildError::OneSize);
        assert_eq!(EncoderConfig { multiplier: 2.0, ..config() }.build().unwrap_err(), BuildError::OneSize);
    }
}
