//! Networks in 8 bits.
//!
//! Each value that an 8-bit operation reads is quantised and dequantised at once (QDQ), and a runtime replaces operations
//! between such pairs by 8-bit ones. Weights are signed and symmetric, with a scale for each output channel; activations
//! are unsigned, since x86 multiplies these with signed weights, with a scale and a zero point from the range that they
//! have on some images (Jacob et al. 2018, "Quantization and training of neural networks for efficient
//! integer-arithmetic-only inference").

use std::collections::BTreeMap;

use burn::tensor::{ExecutionError, Tensor as Values};

use super::{
    IMAGES, OnnxNetwork, Runtime,
    proto::{Attribute, INT32, Node, Tensor, UINT8},
};

/// The range of each value of a network: the least and the greatest element on all images seen.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Ranges(BTreeMap<String, [f32; 2]>);

impl Ranges {
    /// Widens the ranges to the values that a network computes of these images, `[batch, 3, height, width]`.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn observe(&mut self, network: &Runtime<'_>, images: Values<4>) -> Result<(), ExecutionError> {
        let (mut names, mut extremes) = (Vec::new(), Vec::new());
        network.observed(images, |name, value| {
            names.push(name.to_owned());
            extremes.extend([value.clone().min(), value.clone().max()]);
        });
        let extremes: Vec<f32> = Values::<1>::cat(extremes, 0).into_data_async().await?.iter().collect();
        for (name, [least, greatest]) in names.into_iter().zip(extremes.as_chunks().0) {
            let range = self.0.entry(name).or_insert([*least, *greatest]);
            *range = [range[0].min(*least), range[1].max(*greatest)];
        }
        Ok(())
    }

    /// Returns how the value `name` is quantised, if its range is known.
    fn parameters(&self, name: &str) -> Option<Affine> {
        let [least, greatest] = self.0.get(name)?;
        // Zero has to be exact, since convolutions pad with it.
        let (least, greatest) = (least.min(0.0), greatest.max(0.0));
        let scale = (greatest - least) / 255.0;
        if !(scale > 0.0 && scale.is_finite()) {
            return Some(Affine { scale: 1.0, zero_point: 0 });
        }
        Some(Affine { scale, zero_point: (-least / scale).round().clamp(0.0, 255.0) as u8 })
    }
}

/// The meaning of the 8-bit numbers `q`: `scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Affine {
    scale: f32,
    zero_point: u8,
}

impl OnnxNetwork {
    /// Returns the network in 8 bits, for values of these ranges: those of this network, which should have no norms.
    pub fn in_int8(&self, ranges: &Ranges) -> Self {
        let mut quantizer = Quantizer {
            network: self,
            ranges,
            parameters: BTreeMap::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
        };
        quantizer.activation(IMAGES, None);
        for node in &self.nodes {
            quantizer.operation(node.clone());
            // Pooling only selects values.
            let same_as = (node.op_type == "MaxPool").then(|| node.input[0].as_str());
            quantizer.activation(node.result(), same_as);
        }
        let Quantizer { nodes, mut initializers, .. } = quantizer;
        let is_used = |tensor: &&Tensor| nodes.iter().any(|node| node.input.contains(&tensor.name));
        initializers.extend(self.initializers.iter().filter(is_used).cloned());
        Self { nodes, initializers, outputs: self.outputs.clone() }
    }
}

/// Writes the network in 8 bits.
struct Quantizer<'a> {
    network: &'a OnnxNetwork,
    ranges: &'a Ranges,
    /// How each quantised value is quantised.
    parameters: BTreeMap<&'a str, Affine>,
    nodes: Vec<Node>,
    initializers: Vec<Tensor>,
}

impl<'a> Quantizer<'a> {
    /// Quantises the value `name`, if an operation wants it. Values that only pass through a ReLU are part of an 8-bit
    /// operation; those that are only flattened are outputs.
    fn activation(&mut self, name: &'a str, same_as: Option<&str>) {
        let wants = |node: &Node| !["Relu", "Flatten"].contains(&node.op_type.as_str());
        let parameters = match same_as.and_then(|other| self.parameters.get(other)) {
            Some(parameters) => Some(*parameters),
            None => self.ranges.parameters(name),
        };
        let Some(affine) = parameters.filter(|_| self.network.users(name).any(wants)) else { return };
        self.initializers.push(Tensor::floats(scale(name), Vec::new(), &[affine.scale]));
        let (name_of_zero, raw_data) = (zero_point(name), vec![affine.zero_point]);
        self.initializers.push(Tensor { dims: Vec::new(), data_type: UINT8, name: name_of_zero, raw_data });
        let input = vec![name.into(), scale(name), zero_point(name)];
        self.nodes.push(Node::new("QuantizeLinear", &quantized(name), input, Vec::new()));
        self.dequantize(name, Vec::new());
        self.parameters.insert(name, affine);
    }

    /// Adds an operation on quantised inputs.
    fn operation(&mut self, mut node: Node) {
        if ["Conv", "Gemm"].contains(&node.op_type.as_str())
            && let Some(of_input) = self.parameters.get(node.input[0].as_str()).copied()
        {
            let scales = self.weight(&node.input[1]);
            node.input[1] = dequantized(&node.input[1]);
            if let Some(bias) = node.input.get_mut(2) {
                self.bias(bias, scales.into_iter().map(|scale| scale * of_input.scale).collect());
                *bias = dequantized(bias);
            }
        }
        if node.op_type != "Flatten" {
            for input in node.input.iter_mut().filter(|input| self.parameters.contains_key(input.as_str())) {
                *input = dequantized(input);
            }
        }
        self.nodes.push(node);
    }

    /// Quantises a weight, with a scale for each output channel. Returns the scales.
    fn weight(&mut self, name: &str) -> Vec<f32> {
        let weight = self.initializer(name);
        let values = weight.values();
        let channels = weight.dims[0] as usize;
        let of_channel = values.len() / channels;
        let (mut bytes, mut scales) = (Vec::with_capacity(values.len()), Vec::with_capacity(channels));
        for channel in values.chunks_exact(of_channel) {
            let largest = channel.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
            bytes.extend(channel.iter().map(|value| (value / scale).round() as i8));
            scales.push(scale);
        }
        self.initializers.push(Tensor::bytes(quantized(name), weight.dims.clone(), &bytes));
        self.initializers.push(Tensor::floats(scale(name), vec![channels as i64], &scales));
        self.initializers.push(Tensor::bytes(zero_point(name), vec![channels as i64], &vec![0; channels]));
        self.dequantize(name, vec![Attribute::int("axis", 0)]);
        scales
    }

    /// Quantises a bias to 32 bits, with the scale of the products that it is added to, for each channel.
    fn bias(&mut self, name: &str, scales: Vec<f32>) {
        let bias = self.initializer(name);
        let rounded = bias.values().into_iter().zip(&scales).map(|(value, scale)| (value / scale).round() as i32);
        let raw_data = rounded.flat_map(i32::to_le_bytes).collect();
        let dims = bias.dims.clone();
        self.initializers.push(Tensor { dims: dims.clone(), data_type: INT32, name: quantized(name), raw_data });
        self.initializers.push(Tensor::floats(scale(name), dims.clone(), &scales));
        let raw_data = vec![0; 4 * scales.len()];
        self.initializers.push(Tensor { dims, data_type: INT32, name: zero_point(name), raw_data });
        self.dequantize(name, vec![Attribute::int("axis", 0)]);
    }

    fn dequantize(&mut self, name: &str, attribute: Vec<Attribute>) {
        let input = vec![quantized(name), scale(name), zero_point(name)];
        self.nodes.push(Node::new("DequantizeLinear", &dequantized(name), input, attribute));
    }

    fn initializer(&self, name: &str) -> &'a Tensor {
        let found = self.network.initializers.iter().find(|tensor| tensor.name == name);
        found.expect("each parameter of an operation has a value")
    }
}

fn quantized(name: &str) -> String {
    format!("{name}.quantized")
}

fn dequantized(name: &str) -> String {
    format!("{name}.dequantized")
}

fn scale(name: &str) -> String {
    format!("{name}.scale")
}

fn zero_point(name: &str) -> String {
    format!("{name}.zero_point")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_and_the_range_is_used() {
        let affine = |range| Ranges(BTreeMap::from([("x".into(), range)])).parameters("x").unwrap();
        assert_eq!(affine([0.0, 25.5]), Affine { scale: 0.1, zero_point: 0 });
        assert_eq!(affine([-25.5, -1.0]), Affine { scale: 0.1, zero_point: 255 });
        assert_eq!(affine([-10.0, 15.5]), Affine { scale: 0.1, zero_point: 100 });
        assert_eq!(affine([0.0, 0.0]), Affine { scale: 1.0, zero_point: 0 });
        assert_eq!(Ranges::default().parameters("x"), None);
    }
}
