//! Features of labelled images, for every width in one pass over the images.

use burn::tensor::{Device, Tensor, TensorData};

use crate::{
    data::batch::LabelledImages,
    encoder::Encoder,
    forward::{Forward, Mode},
    loss::normalize,
    parameter::Parameters,
};

/// One width's features of a set of images.
#[derive(Debug, Clone)]
pub struct Features {
    /// The backbone's output, before the head: `[n, f]`.
    pub values: Tensor<2>,
    /// The class of each image.
    pub labels: Vec<u32>,
    /// The index of each image in its set.
    pub indices: Vec<usize>,
}

/// Computes the features of a set of images, chunk by chunk.
pub struct Extractor<'a> {
    encoder: &'a Encoder,
    parameters: &'a mut Parameters,
    device: &'a Device,
    chunks: Vec<Vec<Tensor<2>>>,
    labels: Vec<u32>,
    indices: Vec<usize>,
}

impl<'a> Extractor<'a> {
    /// Creates an extractor without images.
    pub fn new(encoder: &'a Encoder, parameters: &'a mut Parameters, device: &'a Device) -> Self {
        let widths = encoder.layout().widths().len();
        Self { encoder, parameters, device, chunks: vec![Vec::new(); widths], labels: Vec::new(), indices: Vec::new() }
    }

    /// Runs every width's backbone, in evaluation mode, over a chunk of images.
    pub fn add(&mut self, chunk: LabelledImages) {
        let shape = [chunk.labels.len(), 3, chunk.size, chunk.size];
        let images = Tensor::<4>::from_data(TensorData::new(chunk.pixels, shape), self.device);
        for (width, features) in self.chunks.iter_mut().enumerate() {
            let mut forward = Forward::new(self.parameters, width, Mode::Eval);
            features.push(forward.features(self.encoder, images.clone()));
        }
        self.labels.extend(chunk.labels);
        self.indices.extend(chunk.indices);
    }

    /// Returns the features of each width, widest first; `None` if there was no image.
    pub fn finish(self) -> Option<Vec<Features>> {
        if self.labels.is_empty() {
            return None;
        }
        let of_width = |chunks| Features {
            values: Tensor::cat(chunks, 0),
            labels: self.labels.clone(),
            indices: self.indices.clone(),
        };
        Some(self.chunks.into_iter().map(of_width).collect())
    }
}

impl Features {
    /// Returns the number of classes: the highest label plus one.
    pub fn classes(&self) -> usize {
        self.labels.iter().max().map_or(0, |highest| *highest as usize + 1)
    }

    /// Returns the one-hot targets of `images`: `[images, classes]`.
    pub fn one_hot(&self, images: impl ExactSizeIterator<Item = usize>, classes: usize) -> Tensor<2> {
        let shape = [images.len(), classes];
        let mut targets = vec![0.0_f32; shape[0] * classes];
        for (row, image) in images.enumerate() {
            targets[row * classes + self.labels[image] as usize] = 1.0;
        }
        Tensor::from_data(TensorData::new(targets, shape), (&self.values.device(), self.values.dtype()))
    }

    /// Returns the features, each scaled to unit length.
    pub fn normalized(&self) -> Tensor<2> {
        normalize(self.values.clone())
    }
}
