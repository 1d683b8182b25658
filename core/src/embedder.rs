//! Features and classes of images by a trained network, for programs that only use it.

use burn::tensor::{Device, ExecutionError, Tensor, TensorData, activation::softmax};
use thiserror::Error;

use crate::{
    augment::{AugmentError, Augmenter, Normalisation},
    encoder::Encoder,
    eval::features::{chunks, images_at_once},
    forward::{Forward, Mode},
    image::Image,
    interchange::pretrained::{Pretrained, PretrainedError},
    parameter::Parameters,
};

/// A trained network that computes features.
#[derive(Debug)]
pub struct Embedder {
    encoder: Encoder,
    parameters: Parameters,
    device: Device,
    widths: Vec<f64>,
    classes: Vec<String>,
    /// Side of the images that the network was trained on, in pixels.
    size: usize,
    normalisation: Normalisation,
}

/// Why images have no features or classes.
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
    /// The network has a projection head, or none.
    #[error("the network has no classifier: train one with `slimclr finetune`, or compare features")]
    NoClassifier,
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
    /// Reads the bytes of a network's file onto `device`: a checkpoint, a snapshot or an exported width of this program,
    /// or a PyTorch or safetensors file of another one ([`Pretrained::read`]). The name is for errors.
    ///
    /// # Errors
    /// If it is none of these, or damaged.
    pub fn read(name: &str, file: Vec<u8>, device: &Device) -> Result<Self, PretrainedError> {
        let trained = Pretrained::read(name, file)?;
        let (encoder, parameters) = trained.load(device)?;
        let widths = match &trained.exported {
            Some(exported) => vec![exported.width],
            None => encoder.layout().widths().iter().collect(),
        };
        let classes = match trained.classes() {
            [] if encoder.is_classifier() => (0..trained.config.outputs).map(|class| class.to_string()).collect(),
            classes => classes.to_vec(),
        };
        Ok(Self {
            encoder,
            parameters,
            device: device.clone(),
            widths,
            classes,
            size: trained.options().image_size,
            normalisation: trained.normalisation().unwrap_or_else(|| Normalisation::of(trained.config.backbone)),
        })
    }

    /// Returns the network's widths, the widest first. An exported width is the only one of its file.
    pub fn widths(&self) -> &[f64] {
        &self.widths
    }

    /// Returns the number of features of an image.
    ///
    /// # Errors
    /// If the network lacks the width.
    pub fn dimension(&self, width: f64) -> Result<usize, EmbedError> {
        let index = self.index(width)?;
        Ok(self.encoder.backbone().features().at(self.encoder.layout().widths(), index))
    }

    /// Returns the side of the square that images are resized and cropped to, in pixels.
    pub fn image_size(&self) -> usize {
        self.size
    }

    /// Returns the names of the classes that the network tells apart, or their numbers if the file has no names; none if
    /// it has no classifier.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Computes the features of images of any size, a list for each, at one of the network's widths. An image is
    /// prepared as in evaluations: its short side is resized and its centre cropped.
    ///
    /// # Errors
    /// If the network lacks the width, an image is empty, or the device fails.
    pub async fn embed(&self, images: &[Image], width: f64) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.run(images, width, |forward, pixels| forward.features(&self.encoder, pixels)).await
    }

    /// Computes the probabilities of the [classes](Self::classes) of images, a list for each, from images that are
    /// prepared as [`embed`](Self::embed) does.
    ///
    /// # Errors
    /// As `embed`, and if the network has no classifier.
    pub async fn classify(&self, images: &[Image], width: f64) -> Result<Vec<Vec<f32>>, EmbedError> {
        if !self.encoder.is_classifier() {
            return Err(EmbedError::NoClassifier);
        }
        self.run(images, width, |forward, pixels| softmax(forward.project(&self.encoder, pixels), 1)).await
    }

    /// Returns the rows that `compute` returns for images, `[n, 3, size, size]`, in passes at one of the widths.
    async fn run(
        &self,
        images: &[Image],
        width: f64,
        compute: impl Fn(&mut Forward, Tensor<4>) -> Tensor<2>,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let index = self.index(width)?;
        // Shares the values: a pass needs them mutable, but in this mode changes none.
        let mut parameters = self.parameters.clone();
        let mut augmenter = Augmenter::new();
        let mut rows = Vec::with_capacity(images.len());
        for part in chunks(images.len(), images_at_once(&self.device, self.size)) {
            let shape = [part.len(), 3, self.size, self.size];
            let mut pixels = vec![0.0; shape.iter().product()];
            for (image, pixels) in images[part].iter().zip(pixels.chunks_exact_mut(3 * self.size * self.size)) {
                augmenter.centre(image, self.size, &self.normalisation, pixels)?;
            }
            let pixels = Tensor::from_data(TensorData::new(pixels, shape), &self.device);
            let values = compute(&mut Forward::new(&mut parameters, index, Mode::Eval), pixels);
            let [_, columns] = values.dims();
            let values: Vec<f32> = values.into_data_async().await?.iter().collect();
            rows.extend(values.chunks_exact(columns).map(<[f32]>::to_vec));
        }
        Ok(rows)
    }

    fn index(&self, width: f64) -> Result<usize, EmbedError> {
        let index = self.widths.iter().position(|it| *it == width);
        index.ok_or_else(|| EmbedError::NoSuchWidth { width, widths: self.widths.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use futures::executor::block_on;

    use super::*;
    use crate::{
        checkpoint,
        config::Config,
        dataset::DatasetSummary,
        interchange::{exported::Exported, sub_network::SubNetwork},
        method::{MethodKind, Trainer},
    };

    const CLASSES: [&str; 3] = ["cat", "dog", "owl"];

    /// Returns an untrained network's checkpoint, and its width 0.5 as exported with images of `exported_size`.
    fn files(options: &Config, exported_size: usize) -> [Vec<u8>; 2] {
        let state = Trainer::new(options, options.encoder().unwrap().build().unwrap(), &Device::flex());
        let (normalisation, classes) = (Normalisation::IMAGENET, CLASSES.map(String::from).to_vec());
        let dataset = DatasetSummary::without_digests(normalisation, classes.clone(), [9, 1]);
        let whole = block_on(checkpoint::save(&state, options, &dataset)).unwrap();
        let half = block_on(SubNetwork::take(&state.encoder, &state.query, 2)).unwrap();
        let exported = Exported {
            width: 0.5,
            backbone: options.backbone,
            depth: Some(options.depth),
            image_size: exported_size,
            normalisation,
            classes: if options.method == MethodKind::Supervised { classes } else { Vec::new() },
        };
        let properties = exported.properties().unwrap().into_iter();
        let metadata: HashMap<String, String> = properties.map(|(key, json)| (key.to_owned(), json)).collect();
        [whole, half.to_safetensors(Some(metadata)).unwrap()]
    }

    fn options(method: MethodKind) -> Config {
        Config { method, ..Config::mini() }.for_classes(CLASSES.len()).unwrap()
    }

    fn difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
        assert_eq!(a.iter().map(Vec::len).collect::<Vec<_>>(), b.iter().map(Vec::len).collect::<Vec<_>>());
        a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn an_exported_width_computes_what_the_whole_network_does() {
        let images = [(16, 16), (40, 30)].map(|(width, height)| {
            let pixels = (0..3 * width * height).map(|index| (index * 7 % 256) as u8).collect();
            Image::new(width, height, pixels).unwrap()
        });
        for method in [MethodKind::Mocov2, MethodKind::Supervised] {
            let files = files(&options(method), 16);
            let [whole, half] = files.map(|file| Embedder::read("the file", file, &Device::flex()).unwrap());
            assert_eq!((whole.widths(), half.widths()), (&[1.0, 0.75, 0.5, 0.25][..], &[0.5][..]));
            let [features, alone] = [&whole, &half].map(|network| block_on(network.embed(&images, 0.5)).unwrap());
            assert_eq!(features[0].len(), half.dimension(0.5).unwrap());
            assert!(difference(&features, &alone) < 1e-5 && difference(&features[..1], &features[1..]) > 1e-3);
            if method == MethodKind::Supervised {
                assert_eq!((whole.classes(), half.classes()), (&CLASSES.map(String::from)[..], whole.classes()));
                let [classes, alone] = [&whole, &half].map(|network| block_on(network.classify(&images, 0.5)).unwrap());
                assert!(difference(&classes, &alone) < 1e-5);
                assert!(classes.iter().all(|of_image| (of_image.iter().sum::<f32>() - 1.0).abs() < 1e-5));
            } else {
                assert!(whole.classes().is_empty() && half.classes().is_empty());
                let error = block_on(whole.classify(&images, 0.5)).unwrap_err().to_string();
                assert!(error.starts_with("the network has no classifier: "), "{error}");
            }
            let error = block_on(whole.embed(&images, 0.3)).unwrap_err().to_string();
            assert_eq!(error, "the network has no width 0.3: choose from 1, 0.75, 0.5, 0.25");
        }
    }

    /// A file with such a size is read as one without metadata, whose backbone cannot be inferred.
    #[test]
    fn images_of_an_impossible_size_are_not_believed() {
        let [_, half] = files(&options(MethodKind::Mocov2), 1 << 30);
        let error = Embedder::read("the file", half, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("it is a plain ResNet of three stages"), "{error}");
    }
}
