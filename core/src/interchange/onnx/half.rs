//! Networks in half precision.

use burn::tensor::f16;

use super::{
    IMAGES, OnnxNetwork,
    proto::{Attribute, FLOAT, FLOAT16, Node, Tensor},
};

impl OnnxNetwork {
    /// Returns the network with parameters and operations in f16. Images and outputs stay in f32. A parameter beyond the
    /// range of f16 becomes the largest number.
    pub fn in_f16(&self) -> Self {
        let half = |name: &str| format!("{name}.f16");
        let cast = |from: &str, to: &str, kind: i32| {
            Node::new("Cast", to, vec![from.into()], vec![Attribute::int("to", kind.into())])
        };
        let mut nodes = vec![cast(IMAGES, &half(IMAGES), FLOAT16)];
        for node in &self.nodes {
            let mut node = node.clone();
            for name in node.input.iter_mut().chain(&mut node.output) {
                if name == IMAGES || self.is_output(name) {
                    *name = half(name);
                }
            }
            node.name = node.result().to_owned();
            nodes.push(node);
        }
        nodes.extend(self.outputs.iter().map(|output| cast(&half(&output.name), &output.name, FLOAT)));
        let rounded = |tensor: &Tensor| {
            let limit = f16::MAX.to_f32();
            let bytes = |value: f32| f16::from_f32(value.clamp(-limit, limit)).to_le_bytes();
            let raw_data = tensor.values().into_iter().flat_map(bytes).collect();
            Tensor { data_type: FLOAT16, raw_data, ..tensor.clone() }
        };
        Self { nodes, initializers: self.initializers.iter().map(rounded).collect(), outputs: self.outputs.clone() }
    }
}
