//! Features of images by a trained network, for programs that only use it.

use burn::tensor::{Device, ExecutionError, Tensor, TensorData};
use thiserror::Error;

use crate::{
    augment::{AugmentError, Augmenter, Normalisation},
    encoder::Encoder,
    eval::features::{chunks, images_at_once},
    forward::{Forward, Mode},
    image::Image,
    interchange::pretrained::{Pretrained, PretrainedError},
    parameter::Parameters,
    width::Widths,
};

/// A trained network that computes features.
#[derive(Debug)]
pub struct Embedder {
    encoder: Encoder,
    parameters: Parameters,
    device: Device,
    /// Side of the images that the network was trained on, in pixels.
    size: usize,
    normalisation: Normalisation,
}

/// Why images have no features.
#[derive(Debug, Error)]
pub enum EmbedError {
    /// The network lacks the width.
    #[error("the network has no width {width}: choose from {}", list(widths))]
    NoSuchWidth {
        /// The width that was asked for.
        width: f64,
        /// The network's widths.
        widths: Vec<f64>,
    },
    /// An image is empty.
    #[error(transparent)]
    Image(#[from] AugmentError),
    /// The device failed.
    #[error("the device failed: {0:?}")]
    Device(#[from] ExecutionError),
}

fn list(widths: &[f64]) -> String {
    widths.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
}

impl Embedder {
    /// Reads the bytes of a network's file onto `device`: a checkpoint or snapshot of this program, or a PyTorch or
    /// safetensors file of another one ([`Pretrained::read`]). The name is for errors.
    ///
    /// # Errors
    /// If it is none of these, or damaged.
    pub fn read(name: &str, file: Vec<u8>, device: &Device) -> Result<Self, PretrainedError> {
        let trained = Pretrained::read(name, file)?;
        let (encoder, parameters) = trained.load(device)?;
        let normalisation = trained.run.as_ref().and_then(|run| run.normalisation);
        Ok(Self {
            encoder,
            parameters,
            device: device.clone(),
            size: trained.options().image_size,
            normalisation: normalisation.unwrap_or_else(|| Normalisation::of(trained.config.backbone)),
        })
    }

    /// Returns the network's widths, the widest first.
    pub fn widths(&self) -> &Widths {
        self.encoder.layout().widths()
    }

    /// Returns the number of features of an image at the width at `index`.
    pub fn features(&self, index: usize) -> usize {
        self.encoder.backbone().features().at(self.widths(), index)
    }

    /// Computes the features of images of any size, a list for each, at one of the network's widths. An image is
    /// prepared as in evaluations: its short side is resized and its centre cropped.
    ///
    /// # Errors
    /// If the network lacks the width, an image is empty, or the device fails.
    pub async fn embed(&mut self, images: &[Image], width: f64) -> Result<Vec<Vec<f32>>, EmbedError> {
        let Some(index) = self.widths().position(width) else {
            return Err(EmbedError::NoSuchWidth { width, widths: self.widths().iter().collect() });
        };
        let mut augmenter = Augmenter::new();
        let mut features = Vec::with_capacity(images.len());
        for part in chunks(images.len(), images_at_once(&self.device, self.size)) {
            let shape = [part.len(), 3, self.size, self.size];
            let mut pixels = vec![0.0; shape.iter().product()];
            for (image, pixels) in images[part].iter().zip(pixels.chunks_exact_mut(3 * self.size * self.size)) {
                augmenter.centre(image, self.size, &self.normalisation, pixels)?;
            }
            let pixels = Tensor::from_data(TensorData::new(pixels, shape), &self.device);
            let values = Forward::new(&mut self.parameters, index, Mode::Eval).features(&self.encoder, pixels);
            let [_, columns] = values.dims();
            let values: Vec<f32> = values.into_data_async().await?.iter().collect();
            features.extend(values.chunks_exact(columns).map(<[f32]>::to_vec));
        }
        Ok(features)
    }
}
