//! A network as ONNX has it.

use prost::Message;

use super::{
    super::named_tensor::NamedTensor,
    Graph, IMAGES, Value,
    proto::{self, Extent, Model, Node, OperatorSet, Property, Tensor, ValueInfo},
};

/// Version of the operators (opset), of 2021, which every runtime in use supports.
const OPERATORS: i64 = 17;
/// Version of the format that came with it.
const FORMAT: i64 = 8;

/// A network of one width in evaluation mode: operations in topological order, and the values of its parameters.
///
/// Its input is `images`, `[batch, 3, height, width]`; its outputs are `features` and, with a classifier, `logits`.
pub struct OnnxNetwork {
    pub(super) nodes: Vec<Node>,
    pub(super) initializers: Vec<Tensor>,
    pub(super) outputs: Vec<Value>,
}

impl OnnxNetwork {
    /// Creates the network of a graph with these parameters.
    pub(in crate::interchange) fn new(graph: Graph, tensors: &[NamedTensor]) -> Self {
        let tensor = |NamedTensor { name, shape, values }: &NamedTensor| {
            let dims = shape.iter().map(|extent| *extent as i64).collect();
            Tensor { dims, data_type: proto::FLOAT, name: name.clone(), raw_data: values.clone() }
        };
        Self { nodes: graph.nodes, initializers: tensors.iter().map(tensor).collect(), outputs: graph.outputs }
    }

    /// Returns the file, with `properties` as metadata.
    pub fn encode(&self, properties: &[(&str, String)]) -> Vec<u8> {
        let free = |name: &str| Extent::Free(name.into());
        let output = |Value { name, channels }: &Value| {
            ValueInfo::floats(name, [free("batch"), Extent::Fixed(*channels as i64)])
        };
        let property = |(key, value): &(&str, String)| Property { key: (*key).into(), value: value.clone() };
        let images = [free("batch"), Extent::Fixed(3), free("height"), free("width")];
        Model {
            ir_version: FORMAT,
            producer_name: "slimclr".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: proto::Graph {
                node: self.nodes.clone(),
                name: "slimclr".into(),
                initializer: self.initializers.clone(),
                input: vec![ValueInfo::floats(IMAGES, images)],
                output: self.outputs.iter().map(output).collect(),
            },
            opset_import: vec![OperatorSet { version: OPERATORS }],
            metadata_props: properties.iter().map(property).collect(),
        }
        .encode_to_vec()
    }

    /// Returns whether `name` is an output of the network.
    pub(super) fn is_output(&self, name: &str) -> bool {
        self.outputs.iter().any(|output| output.name == name)
    }

    /// Returns the operations that use the value `name`.
    pub(super) fn users<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        self.nodes.iter().filter(move |node| node.input.iter().any(|input| input == name))
    }
}
