//! Batch norms as part of the convolutions before them.

use std::collections::BTreeMap;

use super::{OnnxNetwork, proto::Tensor};

impl OnnxNetwork {
    /// Returns the same network without the batch norms that follow a convolution: the convolution's weights are scaled,
    /// and it gets a bias.
    pub fn without_norms(&self) -> Self {
        let mut tensors: BTreeMap<String, Tensor> =
            self.initializers.iter().map(|tensor| (tensor.name.clone(), tensor.clone())).collect();
        let mut nodes = self.nodes.clone();
        for norm in self.nodes.iter().filter(|node| node.op_type == "BatchNormalization") {
            let x = &norm.input[0];
            let is_used_elsewhere = self.is_output(x) || self.users(x).count() > 1;
            let conv = nodes.iter_mut().find(|node| node.op_type == "Conv" && node.result() == x);
            let Some(conv) = conv.filter(|_| !is_used_elsewhere) else { continue };
            let [scale, shift, mean, variance] =
                [1, 2, 3, 4].map(|input| tensors.remove(&norm.input[input]).map(|it| it.values()).unwrap_or_default());
            let epsilon = norm.attribute("epsilon").and_then(|attribute| attribute.f).unwrap_or(1e-5);
            let factors: Vec<f32> =
                scale.iter().zip(&variance).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();

            let weight = tensors.get_mut(&conv.input[1]).expect("a convolution has a weight");
            let mut values = weight.values();
            let of_channel = values.len() / factors.len();
            for (channel, factor) in values.chunks_exact_mut(of_channel).zip(&factors) {
                channel.iter_mut().for_each(|value| *value *= factor);
            }
            *weight = Tensor::floats(weight.name.clone(), weight.dims.clone(), &values);

            let name = format!("{}.bias", conv.name);
            let bias = tensors.get(&name).map_or_else(|| vec![0.0; factors.len()], Tensor::values);
            let folded = |channel: usize| shift[channel] + (bias[channel] - mean[channel]) * factors[channel];
            let folded: Vec<f32> = (0..factors.len()).map(folded).collect();
            tensors.insert(name.clone(), Tensor::floats(name.clone(), vec![folded.len() as i64], &folded));
            conv.input.truncate(2);
            conv.input.push(name);
            conv.output = norm.output.clone();
            nodes.retain(|node| node.name != norm.name);
        }
        Self { nodes, initializers: tensors.into_values().collect(), outputs: self.outputs.clone() }
    }
}
