//! Inverted residual blocks (Sandler et al. 2018) with squeeze-excitation (Hu et al. 2018).

use super::{ConvNorm, ConvNormShape, activation::Activation};
use crate::{
    layers::{NormConstants, Padding, SlimConv2d},
    layout::Layout,
    visitor::{Epilogue, Visitor},
    width::{Channels, WidthError},
};

/// Input channels of each output of a depthwise convolution.
const ONE_CHANNEL: Channels = Channels::Fixed(1);

/// An inverted residual block: expansion, depthwise convolution, squeeze-excitation and projection, plus the input if
/// the shape is unchanged.
#[derive(Debug, Clone)]
pub struct InvertedResidual {
    /// `None` if the block does not expand.
    expansion: Option<ConvNorm>,
    depthwise: ConvNorm,
    gate: Option<SqueezeExcitation>,
    projection: ConvNorm,
    activation: Activation,
    adds_input: bool,
    dropped: f64,
}

/// The shape of an [`InvertedResidual`].
pub struct BlockShape {
    pub inputs: usize,
    /// Channels of the depthwise convolution; as many as `inputs` if the block does not expand.
    pub middle: usize,
    pub outputs: usize,
    /// Side of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
    /// Padding of the depthwise convolution.
    pub padding: Padding,
    pub norms: NormConstants,
    /// Activation after expansion and depthwise convolution.
    pub activation: Activation,
    /// Channels inside the squeeze-excitation, and its kind, if the block has one.
    pub gate: Option<(usize, GateKind)>,
    /// Probability with which training leaves out the layers of a block that adds its input.
    pub dropped: f64,
}

impl BlockShape {
    /// Returns whether the block begins with an expansion.
    pub fn expands(&self) -> bool {
        self.inputs != self.middle
    }
}

/// Names of a block's layers: two of a convolution and its norm, two of the squeeze-excitation's convolutions.
pub struct BlockNames {
    pub expansion: [String; 2],
    pub depthwise: [String; 2],
    pub gate: [String; 2],
    pub projection: [String; 2],
}

impl InvertedResidual {
    pub fn new(layout: &mut Layout, names: &BlockNames, shape: &BlockShape) -> Result<Self, WidthError> {
        let [inputs, middle, outputs] = [shape.inputs, shape.middle, shape.outputs].map(Channels::Fixed);
        let conv_norm = |layout: &mut Layout, names: &[String; 2], sides, [kernel, stride]: [usize; 2]| {
            let padding = if stride == 1 { Padding::Symmetric } else { shape.padding };
            let shape_of_conv = ConvNormShape { sides, kernel, stride, gamma: 1.0 };
            let layers = ConvNorm::new(layout, names.each_ref().map(String::as_str), shape_of_conv)?;
            Ok::<_, WidthError>(layers.with(padding, shape.norms))
        };
        let expansion = match shape.expands() {
            true => Some(conv_norm(layout, &names.expansion, [inputs, middle], [1, 1])?),
            false => None,
        };
        let depthwise = conv_norm(layout, &names.depthwise, [ONE_CHANNEL, middle], [shape.kernel, shape.stride])?;
        let gate = match shape.gate {
            None => None,
            Some((squeezed, kind)) => {
                Some(SqueezeExcitation::new(layout, &names.gate, [middle, Channels::Fixed(squeezed)], kind)?)
            }
        };
        Ok(Self {
            expansion,
            depthwise,
            gate,
            projection: conv_norm(layout, &names.projection, [middle, outputs], [1, 1])?,
            activation: shape.activation,
            adds_input: shape.stride == 1 && inputs == outputs,
            dropped: shape.dropped,
        })
    }

    pub fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value {
        let expanded = match &self.expansion {
            Some(expansion) => expansion.visit_activated(x.clone(), self.activation, visitor),
            None => x.clone(),
        };
        let inner = match &self.gate {
            None => self.depthwise.visit_activated(expanded, self.activation, visitor),
            Some(gate) if gate.kind == GateKind::Mobilenet => {
                let inner = self.depthwise.visit(expanded, Epilogue::Nothing, visitor);
                let inner = gate.visit(inner, visitor);
                self.activation.visit(inner, visitor)
            }
            Some(gate) => {
                let inner = self.depthwise.visit_activated(expanded, self.activation, visitor);
                gate.visit(inner, visitor)
            }
        };
        let inner = self.projection.visit(inner, Epilogue::Nothing, visitor);
        if !self.adds_input {
            return inner;
        }
        let inner = visitor.stochastic_depth(inner, self.dropped);
        visitor.add(inner, x)
    }
}

/// What the published networks do differently about squeeze-excitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateKind {
    /// SiLU and sigmoid inside; after the depthwise convolution's activation.
    Efficientnet,
    /// ReLU and hard sigmoid inside; before the depthwise convolution's activation, as in SEED's MobileNetV3.
    Mobilenet,
}

/// Squeeze-excitation: scales each channel by a factor between 0 and 1, computed from all channels' means.
#[derive(Debug, Clone)]
struct SqueezeExcitation {
    squeeze: SlimConv2d,
    excite: SlimConv2d,
    kind: GateKind,
}

impl SqueezeExcitation {
    fn new(
        layout: &mut Layout,
        [squeeze, excite]: &[String; 2],
        [channels, squeezed]: [Channels; 2],
        kind: GateKind,
    ) -> Result<Self, WidthError> {
        Ok(Self {
            squeeze: SlimConv2d::pointwise_with_bias(layout, squeeze, [channels, squeezed])?,
            excite: SlimConv2d::pointwise_with_bias(layout, excite, [squeezed, channels])?,
            kind,
        })
    }

    fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value {
        let averages = visitor.average_pool(x.clone());
        let squeezed = visitor.conv(averages, &self.squeeze);
        let squeezed = match self.kind {
            GateKind::Efficientnet => visitor.silu(squeezed),
            GateKind::Mobilenet => visitor.relu(squeezed),
        };
        let excited = visitor.conv(squeezed, &self.excite);
        let factor = match self.kind {
            GateKind::Efficientnet => visitor.sigmoid(excited),
            GateKind::Mobilenet => visitor.hard_sigmoid(excited),
        };
        visitor.multiply(x, factor)
    }
}
