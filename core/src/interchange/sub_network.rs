//! One width of an encoder, as a separate network.

use std::collections::HashMap;

use burn::tensor::{ExecutionError, Tensor};
use safetensors::{Dtype, SafeTensorError, serialize, tensor::TensorView};

use super::{
    named_tensor::NamedTensor,
    onnx::{Graph, OnnxNetwork},
};
use crate::{encoder::Encoder, parameter::Parameters};

/// A network of one width in evaluation mode: the backbone, and the classifier if the head is one.
pub struct SubNetwork {
    graph: Graph,
    tensors: Vec<NamedTensor>,
}

impl SubNetwork {
    /// Copies the width at `index` of `encoder`: its slices of the parameters, and its norms.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn take(encoder: &Encoder, parameters: &Parameters, index: usize) -> Result<Self, ExecutionError> {
        let graph = Graph::of(encoder, index);
        let mut tensors = Vec::with_capacity(graph.parameters.len());
        for (id, name) in &graph.parameters {
            let slice = parameters.slice(*id, index).expect("a graph has only parameters of its width");
            let shape = slice.dims()[..encoder.layout().spec(*id).rank].to_vec();
            let flat: Tensor<1> = slice.flatten(0, 3);
            let values = flat.into_data_async().await?.convert::<f32>().as_bytes().to_vec();
            tensors.push(NamedTensor { name: name.clone(), shape, values });
        }
        Ok(Self { graph, tensors })
    }

    /// Returns name and channels of each output: the features, and the logits if there is a classifier.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, usize)> {
        self.graph.outputs()
    }

    /// Returns the tensors as a safetensors file, with torchvision's names and this metadata.
    ///
    /// # Errors
    /// If the file is too large for the format.
    pub fn to_safetensors(&self, metadata: Option<HashMap<String, String>>) -> Result<Vec<u8>, SafeTensorError> {
        let views = self
            .tensors
            .iter()
            .map(|NamedTensor { name, shape, values }| Ok((name, TensorView::new(Dtype::F32, shape.clone(), values)?)))
            .collect::<Result<Vec<_>, SafeTensorError>>()?;
        serialize(views, metadata)
    }

    /// Returns the network as ONNX has it.
    pub fn to_onnx(&self) -> OnnxNetwork {
        OnnxNetwork::new(self.graph.clone(), &self.tensors)
    }
}
