//! A trained network and its embeddings at each width: nearest neighbours, maps, latency.

use std::cell::Cell;

use burn::tensor::{ExecutionError, Tensor, TensorData};
use slimclr_core::{
    augment::{AugmentError, Augmenter, Normalisation},
    config::Config,
    data::{
        decode::{self, DecodeError},
        sampler::Sampler,
    },
    encoder::{BuildError, Encoder},
    eval::{
        features::{Collector, Extractor, Features},
        knn::leave_one_out,
        map::Map,
    },
    forward::{Forward, Mode},
    image::{Image, ImageError},
    interchange::pretrained::{Pretrained, PretrainedError},
    loss::normalize,
    parameter::Parameters,
    profile::profile,
    train::Split,
};
use slimclr_protocol::{self as protocol, Embedding, Picture, Progress, Report, wire};
use thiserror::Error;
use wasm_bindgen::JsValue;

use crate::{
    browser::{milliseconds, report, report_with, yield_to_browser},
    device::ComputeDevice,
    images::Dataset,
    pixels::to_rgb,
};

/// Fewest and most images in a gallery.
const IMAGES: [u64; 2] = [50, 500];
/// Most multiply-accumulates for a gallery: a few seconds of one CPU core.
const COST: u64 = 1 << 34;
/// Images embedded before the worker yields to the browser.
const CHUNK: usize = 10;
/// Test images offered as samples.
const SAMPLES: usize = 30;
/// Nearest neighbours reported for a picture, and those that vote for an image's class.
const NEIGHBOURS: usize = 12;
/// Runs that the median latency is taken of.
const RUNS: usize = 5;

/// Why a network or a picture cannot be embedded.
#[derive(Debug, Error)]
pub enum GalleryError {
    /// The file is not a trained network.
    #[error(transparent)]
    Pretrained(#[from] PretrainedError),
    /// A network that cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The image file cannot be decoded.
    #[error(transparent)]
    Data(#[from] DecodeError),
    /// The picture has no pixels.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The picture cannot be resized.
    #[error(transparent)]
    Augment(#[from] AugmentError),
    /// The attachment is missing.
    #[error("the picture did not arrive: choose it again")]
    Lost,
    /// No gallery image can be decoded.
    #[error("none of the gallery's images can be decoded: reload the page")]
    NoImages,
    /// Features are NaN or infinite.
    #[error("the network's features are NaN or infinite, so its training diverged: choose another network")]
    NotFinite,
    /// The device failed.
    #[error("the device failed: {0}; reload the page, or choose the CPU")]
    Device(#[from] ExecutionError),
}

/// A trained network and the images it has embedded.
pub struct Gallery {
    encoder: Encoder,
    parameters: Parameters,
    device: ComputeDevice,
    sampler: Sampler,
    side: usize,
    normalisation: Normalisation,
    samples: Vec<Image>,
    /// One for each width, widest first.
    embedded: Vec<EmbeddedImages>,
}

/// The gallery's images as embedded at one width.
struct EmbeddedImages {
    /// A unit vector for each image.
    features: Vec<Vec<f32>>,
    map: Map,
}

impl Gallery {
    /// Reads a network from a file, embeds images of `dataset`, and reports both. Returns `None` if `wanted` is cleared
    /// meanwhile.
    ///
    /// # Errors
    /// If the file is not a network, no image can be decoded, or the device fails.
    pub async fn open(
        device: &ComputeDevice,
        dataset: &Dataset,
        (name, bytes): (String, Vec<u8>),
        wanted: &Cell<bool>,
    ) -> Result<Option<Self>, GalleryError> {
        let trained = Pretrained::read(&name, bytes)?;
        let (encoder, parameters) = trained.load(&device.burn)?;
        let config = trained.options();
        let side = config.image_size;
        let profile = profile(&encoder, side);
        let cost: u64 = profile.iter().map(|width| width.macs).sum();
        report(&Report::Network {
            name,
            architecture: trained.config.to_string(),
            steps: trained.run.as_ref().map(|run| run.step),
            side,
            profile,
        });

        let normalisation = trained.normalisation().unwrap_or(Normalisation::of(trained.config.backbone));
        let sampler = Sampler::new(&Config { image_size: side, ..config }, normalisation);
        let mut gallery = Self {
            encoder,
            parameters,
            device: device.clone(),
            sampler,
            side,
            normalisation,
            samples: Vec::new(),
            embedded: Vec::new(),
        };
        let count = (COST / cost.max(1)).clamp(IMAGES[0], IMAGES[1]) as usize;
        let Some((pixels, features)) = gallery.embed_all(dataset, count, wanted).await? else { return Ok(None) };
        let labels = features.first().map(|features| features.labels.clone()).unwrap_or_default();
        let mut knn = Vec::new();
        if !dataset.summary.classes.is_empty() {
            for features in &features {
                knn.push(leave_one_out(features, NEIGHBOURS).await?.fraction);
            }
        }
        let maps = gallery.store(features).await?;
        let mut sample_labels = Vec::new();
        let mut sample_pixels = Vec::new();
        for index in dataset.sample(Split::Test, SAMPLES) {
            let Some(image) = dataset.image(Split::Test, index).await else { continue };
            sample_pixels.extend(to_rgb(&gallery.input(&image)?, side, &normalisation));
            sample_labels.push(dataset.label(Split::Test, index));
            gallery.samples.push(image);
        }
        let classes = dataset.summary.classes.clone();
        let complete = Report::Gallery { side, classes, labels, samples: sample_labels, maps, knn };
        report_with(&complete, &[&pixels, &sample_pixels]);
        Ok(Some(gallery))
    }

    /// Embeds at most `count` training images; returns their RGB pixels as the network sees them, and their features at
    /// each width. Returns `None` if `wanted` is cleared.
    async fn embed_all(
        &mut self,
        dataset: &Dataset,
        count: usize,
        wanted: &Cell<bool>,
    ) -> Result<Option<(Vec<u8>, Vec<Features>)>, GalleryError> {
        let indices = dataset.sample(Split::Train, count);
        let mut rgb = Vec::new();
        let mut chunks = Vec::new();
        for chunk in indices.chunks(CHUNK) {
            let mut images = Vec::with_capacity(CHUNK);
            for index in chunk {
                let Some(image) = dataset.image(Split::Train, *index).await else { continue };
                let pixels = self.input(&image)?;
                rgb.extend(to_rgb(&pixels, self.side, &self.normalisation));
                images.push((*index, dataset.label(Split::Train, *index), pixels));
            }
            if !images.is_empty() {
                chunks.push(self.sampler.labelled(images));
            }
        }
        let total = chunks.len();
        let mut extractor = Extractor::new(&self.encoder, &mut self.parameters, &self.device.burn);
        let mut collector = Collector::default();
        for (done, chunk) in chunks.into_iter().enumerate() {
            report(&Report::Progress(Progress { what: "embedding the gallery".into(), done, total }));
            yield_to_browser().await;
            if !wanted.get() {
                return Ok(None);
            }
            extractor.extract(chunk).await.into_iter().for_each(|features| collector.add(features));
        }
        let features = collector.finish().ok_or(GalleryError::NoImages)?;
        Ok(Some((rgb, features)))
    }

    /// Stores each width's features and returns their maps.
    async fn store(&mut self, features: Vec<Features>) -> Result<Vec<protocol::Map>, GalleryError> {
        let mut maps: Vec<protocol::Map> = Vec::new();
        let mut full: Vec<[f64; 2]> = Vec::new();
        for (features, width) in features.into_iter().zip(self.encoder.layout().widths().iter()) {
            let features = rows(normalize(features.values.rows(0..features.labels.len()))).await?;
            let mut map = Map::new(&features);
            let project = |map: &Map| features.iter().map(|feature| map.place(feature)).collect::<Vec<_>>();
            let mut points = project(&map);
            if full.is_empty() {
                full = points.clone();
            } else {
                map = map.turned_towards(&points, &full);
                points = project(&map);
            }
            maps.push(protocol::Map {
                width,
                points: points.into_iter().map(to_f32).collect(),
                explained: map.explained,
            });
            self.embedded.push(EmbeddedImages { features, map });
        }
        Ok(maps)
    }

    /// Embeds a picture at every width and reports the result.
    ///
    /// # Errors
    /// If the picture cannot be decoded, or the device fails.
    pub async fn embed(&mut self, id: u64, picture: Picture, attached: &[JsValue]) -> Result<(), GalleryError> {
        let image = self.picture(picture, attached)?;
        let pixels = self.input(&image)?;
        let rgb = to_rgb(&pixels, self.side, &self.normalisation);
        let images = TensorData::new(pixels, [1, 3, self.side, self.side]);
        let images = Tensor::<4>::from_data(images, &self.device.burn);
        let mut widths = Vec::with_capacity(self.embedded.len());
        let mut attached_features = Vec::with_capacity(self.embedded.len());
        for (index, width) in self.encoder.layout().widths().iter().enumerate() {
            let mut times = Vec::with_capacity(RUNS);
            let mut feature = Vec::new();
            for _ in 0..RUNS {
                let start = milliseconds();
                let mut pass = Forward::new(&mut self.parameters, index, Mode::Eval);
                let features = normalize(pass.features(&self.encoder, images.clone()));
                feature = rows(features).await?.pop().unwrap_or_default();
                times.push(milliseconds() - start);
            }
            times.sort_by(f64::total_cmp);
            let gallery = &self.embedded[index];
            widths.push(Embedding {
                width,
                milliseconds: times[RUNS / 2],
                neighbours: gallery.nearest(&feature),
                at: to_f32(gallery.map.place(&feature)),
            });
            attached_features.push(feature.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
        let attached: Vec<&[u8]> = std::iter::once(&rgb).chain(&attached_features).map(Vec::as_slice).collect();
        report_with(&Report::Embedded { id, widths }, &attached);
        Ok(())
    }

    fn picture(&self, picture: Picture, attached: &[JsValue]) -> Result<Image, GalleryError> {
        let bytes = || attached.first().and_then(wire::bytes).ok_or(GalleryError::Lost);
        match picture {
            Picture::Sample(index) => self.samples.get(index).cloned().ok_or(GalleryError::Lost),
            Picture::File => Ok(decode::decode(&bytes()?)?),
            Picture::Rgba { width, height } => Ok(Image::from_rgba(width, height, &bytes()?)?),
        }
    }

    /// Returns the centre crop of an image as network input, `[3, side, side]`, normalised.
    fn input(&self, image: &Image) -> Result<Vec<f32>, AugmentError> {
        self.sampler.centre(&mut Augmenter::new(), image)
    }
}

impl EmbeddedImages {
    /// Returns the images whose features have the highest cosine similarity with `feature`, highest first.
    fn nearest(&self, feature: &[f32]) -> Vec<(usize, f32)> {
        let cosine = |other: &Vec<f32>| feature.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        let mut all: Vec<(usize, f32)> = self.features.iter().map(cosine).enumerate().collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(NEIGHBOURS);
        all
    }
}

/// Reads a matrix back as rows.
///
/// # Errors
/// If the device fails, or a value is NaN or infinite.
async fn rows(matrix: Tensor<2>) -> Result<Vec<Vec<f32>>, GalleryError> {
    let [_, columns] = matrix.dims();
    let values: Vec<f32> = matrix.into_data_async().await?.iter().collect();
    if !values.iter().all(|value| value.is_finite()) {
        return Err(GalleryError::NotFinite);
    }
    Ok(values.chunks_exact(columns.max(1)).map(<[f32]>::to_vec).collect())
}

fn to_f32(point: [f64; 2]) -> [f32; 2] {
    point.map(|coordinate| coordinate as f32)
}
