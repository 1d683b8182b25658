//! Computes ONNX networks, to find the ranges of their values and what quantisation costs.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{
    Device, Tensor, TensorData,
    activation::{hard_sigmoid, relu, sigmoid},
    module::adaptive_avg_pool2d,
};

use super::{
    IMAGES, OnnxNetwork,
    proto::{self, Node},
};
use crate::{
    forward::padded_as_tensorflow,
    kernel::{conv::conv, pool::max_pool},
};

/// A network that is ready to compute, in f32: the numbers of an 8-bit network are the integers that they stand for. An
/// f16 network has the rounded parameters, but its operations do not round.
pub struct Runtime<'a> {
    network: &'a OnnxNetwork,
    /// `[n, 1, 1, 1]` where the rank is lower.
    constants: HashMap<&'a str, Tensor<4>>,
    /// The last operation that uses each value.
    last_use: BTreeMap<&'a str, usize>,
}

impl<'a> Runtime<'a> {
    /// Prepares to compute a network on `device`.
    pub fn new(network: &'a OnnxNetwork, device: &Device) -> Self {
        let constant = |tensor: &'a proto::Tensor| {
            let mut shape = [1; 4];
            shape.iter_mut().zip(&tensor.dims).for_each(|(extent, dim)| *extent = *dim as usize);
            (tensor.name.as_str(), Tensor::from_data(TensorData::new(tensor.values(), shape), device))
        };
        let uses = network.nodes.iter().enumerate();
        let uses = uses.flat_map(|(index, node)| node.input.iter().map(move |name| (name.as_str(), index)));
        Self { network, constants: network.initializers.iter().map(constant).collect(), last_use: uses.collect() }
    }

    /// Computes the network's outputs in order, `[batch, channels]` each, of images `[batch, 3, height, width]`.
    pub fn run(&self, images: Tensor<4>) -> Vec<Tensor<2>> {
        self.observed(images, |_, _| ())
    }

    /// Computes the outputs, and passes each value on the way to `observe`.
    pub(super) fn observed(&self, images: Tensor<4>, mut observe: impl FnMut(&str, &Tensor<4>)) -> Vec<Tensor<2>> {
        observe(IMAGES, &images);
        let mut values = HashMap::from([(IMAGES, images)]);
        for (index, node) in self.network.nodes.iter().enumerate() {
            let value = |name: &String| {
                let value = values.get(name.as_str()).or_else(|| self.constants.get(name.as_str()));
                value.expect("operations are in topological order").clone()
            };
            let output = compute(node, node.input.iter().map(value).collect());
            observe(node.result(), &output);
            for name in &node.input {
                if self.last_use.get(name.as_str()) == Some(&index) && !self.network.is_output(name) {
                    values.remove(name.as_str());
                }
            }
            values.insert(node.result(), output);
        }
        let output = |name: &str| values.remove(name).expect("each output is computed").flatten(1, 3);
        self.network.outputs.iter().map(|output| output.name.as_str()).map(output).collect()
    }
}

/// Computes an operation.
fn compute(node: &Node, inputs: Vec<Tensor<4>>) -> Tensor<4> {
    let mut inputs = inputs.into_iter();
    let mut next = || inputs.next().expect("an operation has its inputs");
    let float = |name: &str, default: f32| f64::from(node.attribute(name).and_then(|it| it.f).unwrap_or(default));
    // Of vectors with a value for each channel.
    let of_channels = |vector: Tensor<4>| vector.swap_dims(0, 1);
    let x = next();
    match node.op_type.as_str() {
        "Conv" => {
            let weight = next();
            let stride = node.attribute("strides").map_or(1, |strides| strides.ints[0] as usize);
            let kernel = weight.dims()[2];
            let output = match node.attribute("auto_pad") {
                Some(_) => padded_as_tensorflow(x, kernel, stride, |x| conv(x, weight, stride)),
                None => conv(x, weight, stride),
            };
            match inputs.next() {
                Some(bias) => output + of_channels(bias),
                None => output,
            }
        }
        "BatchNormalization" => {
            let [scale, shift, mean, variance] = [(); 4].map(|()| of_channels(next()));
            (x - mean) / (variance + float("epsilon", 1e-5)).sqrt() * scale + shift
        }
        "Gemm" => {
            let (weight, bias) = (next(), inputs.next());
            let ([batch, features, ..], [outputs, ..]) = (x.dims(), weight.dims());
            let transposed = weight.reshape([outputs, features]).transpose();
            let product = x.reshape([batch, features]).matmul(transposed).reshape([batch, outputs, 1, 1]);
            match bias {
                Some(bias) => product + of_channels(bias),
                None => product,
            }
        }
        "Relu" => relu(x),
        "Sigmoid" => sigmoid(x),
        "HardSigmoid" => hard_sigmoid(x, float("alpha", 0.2), float("beta", 0.5)),
        "Mul" => x * next(),
        "Add" => x + next(),
        "MaxPool" => max_pool(x),
        "GlobalAveragePool" => adaptive_avg_pool2d(x, [1, 1]),
        "QuantizeLinear" => {
            let (scale, zero_point) = (next(), next());
            ((x / scale).round() + zero_point).clamp(0.0, 255.0)
        }
        "DequantizeLinear" => {
            let (scale, zero_point) = (next(), next());
            (x - zero_point) * scale
        }
        "Flatten" => {
            let [batch, channels, height, width] = x.dims();
            x.reshape([batch, channels * height * width, 1, 1])
        }
        "Cast" => x,
        operator => unreachable!("no network has the operation {operator}"),
    }
}
