//! EfficientNet-B0 (Tan & Le 2019, table 1), the small network that the paper compares with. It is not slimmable.
//!
//! Without stochastic depth, which torchvision trains it with: a step's gradient is that of the whole network.

use super::{Backbone, Block, ConvNorm, ConvNormShape, IMAGE, Stage};
use crate::{
    error::BuildError,
    layers::SlimConv2d,
    layout::Layout,
    visitor::{Epilogue, Visitor},
    width::{Channels, WidthError},
};

/// The stages between stem and last convolution.
const STAGES: [Form; 7] = [
    Form { count: 1, expansion: 1, kernel: 3, stride: 1, outputs: 16 },
    Form { count: 2, expansion: 6, kernel: 3, stride: 2, outputs: 24 },
    Form { count: 2, expansion: 6, kernel: 5, stride: 2, outputs: 40 },
    Form { count: 3, expansion: 6, kernel: 3, stride: 2, outputs: 80 },
    Form { count: 3, expansion: 6, kernel: 5, stride: 1, outputs: 112 },
    Form { count: 4, expansion: 6, kernel: 5, stride: 2, outputs: 192 },
    Form { count: 1, expansion: 6, kernel: 3, stride: 1, outputs: 320 },
];
/// Channels of the stem.
const STEM: Channels = Channels::Fixed(32);
/// Channels of the last convolution.
const FEATURES: Channels = Channels::Fixed(1280);
/// What an output channel of a depthwise convolution sees.
const ONE_CHANNEL: Channels = Channels::Fixed(1);
/// A block's input channels over those that its squeeze-excitation squeezes into.
const SQUEEZE: usize = 4;

/// The blocks of a stage.
struct Form {
    count: usize,
    /// Channels between expansion and projection, over those of the input; 1 is no expansion.
    expansion: usize,
    /// Side of the depthwise kernel.
    kernel: usize,
    /// Of the first block; the others keep the resolution.
    stride: usize,
    outputs: usize,
}

/// EfficientNet-B0, its layers named as torchvision names them.
///
/// # Errors
/// If there is a width beside the full one, or another multiple of the channels is asked for.
pub fn efficientnet_b0(layout: &mut Layout, multiplier: f64) -> Result<Backbone, BuildError> {
    if layout.widths().len() > 1 || multiplier != 1.0 {
        return Err(BuildError::OneSize);
    }
    let stem = conv_norm(layout, "features.0", [IMAGE, STEM], 3, 2)?;
    let mut stages = vec![Stage::stem(vec![Block::ConvSilu(stem)])];
    let mut inputs = STEM;
    for (number, form) in (1..).zip(&STAGES) {
        let mut blocks = Vec::with_capacity(form.count);
        for place in 0..form.count {
            let form = Form { stride: if place == 0 { form.stride } else { 1 }, ..*form };
            let name = format!("features.{number}.{place}.block");
            blocks.push(Block::InvertedResidual(InvertedResidual::new(layout, &name, inputs, &form)?));
            inputs = Channels::Fixed(form.outputs);
        }
        stages.push(Stage::numbered(number, blocks));
    }
    let last = conv_norm(layout, "features.8", [inputs, FEATURES], 1, 1)?;
    stages.push(Stage::new("last conv", vec![Block::ConvSilu(last)]));
    Ok(Backbone::new(stages, FEATURES))
}

/// A convolution and its norm, named as torchvision's pair: `name.0`, `name.1`.
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

/// A block that is wide inside and narrow at its ends (Sandler et al. 2018): expansion, depthwise convolution,
/// squeeze-excitation and projection, plus the input where the shape is kept.
#[derive(Debug, Clone)]
pub struct InvertedResidual {
    /// None where there is nothing to expand.
    expansion: Option<ConvNorm>,
    depthwise: ConvNorm,
    gate: SqueezeExcitation,
    projection: ConvNorm,
    adds_input: bool,
}

impl InvertedResidual {
    fn new(layout: &mut Layout, name: &str, inputs: Channels, form: &Form) -> Result<Self, WidthError> {
        let [middle, outputs] = [inputs.full() * form.expansion, form.outputs].map(Channels::Fixed);
        let expands = form.expansion > 1;
        let [depthwise, gate, projection] = [0, 1, 2].map(|place| format!("{name}.{}", usize::from(expands) + place));
        let expand = |layout: &mut Layout| conv_norm(layout, &format!("{name}.0"), [inputs, middle], 1, 1);
        let squeezed = Channels::Fixed(inputs.full() / SQUEEZE);
        Ok(Self {
            expansion: expands.then(|| expand(layout)).transpose()?,
            depthwise: conv_norm(layout, &depthwise, [ONE_CHANNEL, middle], form.kernel, form.stride)?,
            gate: SqueezeExcitation::new(layout, &gate, [middle, squeezed])?,
            projection: conv_norm(layout, &projection, [middle, outputs], 1, 1)?,
            adds_input: form.stride == 1 && inputs == outputs,
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

/// A factor between 0 and 1 for each channel, of the averages of all channels (Hu et al. 2018).
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
        EncoderConfig {
            backbone: BackboneKind::EfficientnetB0,
            depth: 0,
            multiplier: 1.0,
            widths: Widths::full(),
            head: HeadKind::Mocov2,
            hidden: 0,
            predictor: false,
            outputs: 16,
        }
    }

    #[test]
    fn another_size_is_refused() {
        let two_widths = EncoderConfig { widths: Widths::try_from(vec![1.0, 0.5]).unwrap(), ..config() };
        assert_eq!(two_widths.build().unwrap_err(), BuildError::OneSize);
        assert_eq!(EncoderConfig { multiplier: 2.0, ..config() }.build().unwrap_err(), BuildError::OneSize);
    }
}
