//! Writes a sub-network as an ONNX graph, by visiting the architecture.

mod folding;
mod half;
mod network;
mod proto;
mod quantization;
mod runtime;
#[cfg(test)]
mod tests;

use self::proto::{Attribute, Node};
pub use self::{network::OnnxNetwork, quantization::Ranges, runtime::Runtime};
use super::torchvision::Names;
use crate::{
    encoder::Encoder,
    layers::{Padding, SlimConv2d, SlimLinear, SwitchableBatchNorm},
    layout::{Layout, ParameterId},
    visitor::{Epilogue, Visitor},
};

/// Name of the graph's input, of shape `[batch, 3, height, width]`.
pub const IMAGES: &str = "images";
/// Name of the backbone's output, of shape `[batch, features]`.
pub const FEATURES: &str = "features";
/// Name of the classifier's output, of shape `[batch, classes]`.
pub const LOGITS: &str = "logits";

/// The operations of one width in evaluation mode, in topological order, and their parameters.
#[derive(Clone)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    outputs: Vec<Value>,
    /// The parameters, with torchvision's names.
    pub(super) parameters: Vec<(ParameterId, String)>,
}

impl Graph {
    /// Returns the graph of the width at `index` of `encoder`: from images to features, and to logits if the head is
    /// a classifier.
    pub(super) fn of(encoder: &Encoder, index: usize) -> Self {
        let layout = encoder.layout();
        let graph = Self { nodes: Vec::new(), outputs: Vec::new(), parameters: Vec::new() };
        let mut writer = Writer { layout, names: Names::of(layout), width: index, graph };
        let images = Value { name: IMAGES.into(), channels: 3 };
        let pooled = encoder.backbone().visit(images, &mut writer);
        let channels = pooled.channels;
        let features = writer.node("Flatten", FEATURES, vec![pooled.name], vec![Attribute::int("axis", 1)], channels);
        writer.graph.outputs.push(features.clone());
        if encoder.is_classifier() {
            let mut logits = encoder.head().visit(features, &mut writer);
            logits.name = LOGITS.into();
            writer.graph.nodes.last_mut().expect("a classifier has a layer").output = vec![LOGITS.into()];
            writer.graph.outputs.push(logits);
        }
        writer.graph
    }

    /// Returns name and channels of each output.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (&str, usize)> {
        self.outputs.iter().map(|output| (output.name.as_str(), output.channels))
    }
}

/// An edge of the graph: its name and its channels.
#[derive(Debug, Clone)]
struct Value {
    name: String,
    channels: usize,
}

/// The visitor that writes the graph.
struct Writer<'a> {
    layout: &'a Layout,
    names: Names,
    width: usize,
    graph: Graph,
}

impl Writer<'_> {
    /// Adds an operation. Its output has the same name.
    fn node(
        &mut self,
        operator: &str,
        name: &str,
        input: Vec<String>,
        attribute: Vec<Attribute>,
        channels: usize,
    ) -> Value {
        self.graph.nodes.push(Node::new(operator, name, input, attribute));
        Value { name: name.into(), channels }
    }

    /// Adds an operation without parameters, named by its index.
    fn unnamed(&mut self, operator: &str, input: Vec<String>, attribute: Vec<Attribute>, channels: usize) -> Value {
        let name = format!("{operator}_{}", self.graph.nodes.len());
        self.node(operator, &name, input, attribute, channels)
    }

    /// Records that a parameter is used. Returns its name.
    fn parameter(&mut self, id: ParameterId) -> String {
        let name = self.names.name(self.layout.spec(id));
        self.graph.parameters.push((id, name.clone()));
        name
    }

    /// Returns the output channels of the layer with the weight `id`.
    fn outputs(&self, id: ParameterId) -> usize {
        self.layout.spec(id).outputs.at(self.layout.widths(), self.width)
    }
}

/// Returns the layer of a tensor: `layer1.0.conv1` for `layer1.0.conv1.weight`.
fn layer(tensor: &str) -> String {
    tensor.rsplit_once('.').map_or(tensor, |(layer, _)| layer).into()
}

impl Visitor for Writer<'_> {
    type Value = Value;

    fn width(&self) -> usize {
        self.width
    }

    fn conv(&mut self, x: Value, conv: &SlimConv2d) -> Value {
        let spec = self.layout.spec(conv.weight());
        let (kernel, group_inputs) = (spec.kernel, spec.inputs.at(self.layout.widths(), self.width));
        let padding = match conv.padding() {
            // Before height and width, then after them.
            Padding::Symmetric => Attribute::ints("pads", &[kernel[0] / 2, kernel[1] / 2].repeat(2)),
            Padding::TensorFlow => Attribute::string("auto_pad", "SAME_UPPER"),
        };
        let weight = self.parameter(conv.weight());
        let name = layer(&weight);
        let bias = conv.bias().map(|id| self.parameter(id));
        let attributes = vec![
            Attribute::int("group", (x.channels / group_inputs) as i64),
            Attribute::ints("kernel_shape", &kernel),
            Attribute::ints("strides", &[conv.stride(); 2]),
            padding,
        ];
        let inputs = [x.name, weight].into_iter().chain(bias).collect();
        self.node("Conv", &name, inputs, attributes, self.outputs(conv.weight()))
    }

    fn norm(&mut self, x: Value, norm: &SwitchableBatchNorm, then: Epilogue<Value>) -> Value {
        let affine = norm.affine(self.width).expect("the norms of backbones scale and shift");
        let [scale, shift] = affine.map(|id| self.parameter(id));
        let [mean, variance] = norm.running(self.width).map(|id| self.parameter(id));
        let name = layer(&scale);
        let inputs = vec![x.name, scale, shift, mean, variance];
        let epsilon = vec![Attribute::float("epsilon", norm.constants().epsilon as f32)];
        let x = self.node("BatchNormalization", &name, inputs, epsilon, x.channels);
        match then {
            Epilogue::Nothing => x,
            Epilogue::Relu => self.relu(x),
            Epilogue::AddRelu(shortcut) => {
                let sum = self.add(x, shortcut);
                self.relu(sum)
            }
            Epilogue::ReluAddRelu(shortcut) => {
                let inner = self.relu(x);
                let sum = self.add(inner, shortcut);
                self.relu(sum)
            }
        }
    }

    /// Adds a layer over `[batch, channels]`: all linear layers come after the features.
    fn linear(&mut self, x: Value, linear: &SlimLinear) -> Value {
        let weight = self.parameter(linear.weight());
        let name = layer(&weight);
        let bias = linear.bias().map(|id| self.parameter(id));
        let inputs = [x.name, weight].into_iter().chain(bias).collect();
        // PyTorch's weights are `[out, in]`.
        self.node("Gemm", &name, inputs, vec![Attribute::int("transB", 1)], self.outputs(linear.weight()))
    }

    fn relu(&mut self, x: Value) -> Value {
        self.unnamed("Relu", vec![x.name], Vec::new(), x.channels)
    }

    fn sigmoid(&mut self, x: Value) -> Value {
        self.unnamed("Sigmoid", vec![x.name], Vec::new(), x.channels)
    }

    fn hard_sigmoid(&mut self, x: Value) -> Value {
        let attributes = vec![Attribute::float("alpha", 1.0 / 6.0), Attribute::float("beta", 0.5)];
        self.unnamed("HardSigmoid", vec![x.name], attributes, x.channels)
    }

    fn multiply(&mut self, x: Value, factor: Value) -> Value {
        self.unnamed("Mul", vec![x.name, factor.name], Vec::new(), x.channels)
    }

    fn add(&mut self, a: Value, b: Value) -> Value {
        self.unnamed("Add", vec![a.name, b.name], Vec::new(), a.channels)
    }

    fn max_pool(&mut self, x: Value) -> Value {
        let attributes = vec![
            Attribute::ints("kernel_shape", &[3; 2]),
            Attribute::ints("strides", &[2; 2]),
            Attribute::ints("pads", &[1; 4]),
        ];
        self.unnamed("MaxPool", vec![x.name], attributes, x.channels)
    }

    fn average_pool(&mut self, x: Value) -> Value {
        self.unnamed("GlobalAveragePool", vec![x.name], Vec::new(), x.channels)
    }
}
