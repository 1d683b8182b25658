//! A trained network and how each of its widths sees images: neighbours, maps, latency.

use std::{cell::Cell, io::Cursor};

use burn::tensor::{ExecutionError, Tensor, TensorData};
use slimclr_core::{
    augment::{AugmentError, Augmenter, Normalisation},
    config::Config,
    data::{DataError, file, sampler::Sampler},
    encoder::{BackboneKind, BuildError, Encoder, EncoderConfig},
    eval::{
        features::{Extractor, Features},
        map::Map,
    },
    forward::{Forward, Mode},
    image::{Image, ImageError},
    interchange::trained::{Trained, TrainedError},
    loss::normalize,
    parameter::Parameters,
    profile::profile,
    train::Split,
};
use slimclr_protocol::{self as protocol, Embedding, Picture, Progress, Report, parcel};
use thiserror::Error;
use wasm_bindgen::JsValue;

use crate::{
    browser::{breathe, milliseconds, report, report_with},
    images::Dataset,
    seat::Seat,
};

/// Most images in a gallery, and fewest.
const IMAGES: [u64; 2] = [50, 500];
/// Multiply-accumulates that a gallery may cost: some seconds of a CPU.
const COST: u64 = 1 << 34;
/// Images that are embedded before the page is heard again.
const CHUNK: usize = 10;
/// Test images to choose from.
const SAMPLES: usize = 30;
/// Images that are shown as neighbours.
const NEIGHBOURS: usize = 12;
/// Runs that the latency is the median of.
const RUNS: usize = 5;

/// Why a network or a picture cannot be used.
#[derive(Debug, Error)]
pub enum GalleryError {
    /// Not a trained network.
    #[error(transparent)]
    Trained(#[from] TrainedError),
    /// A network that cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An image file that is none.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A picture without pixels.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A picture that cannot be cut to size.
    #[error(transparent)]
    Augment(#[from] AugmentError),
    /// An attachment that is none.
    #[error("the picture did not arrive: choose it again")]
    Lost,
    /// Images that cannot be decoded.
    #[error("none of the images can be decoded, so there is nothing to compare with: use others")]
    NoImages,
    /// Weights that training has ruined.
    #[error("the network's features are no finite numbers: its training has diverged; choose another")]
    NotFinite,
    /// The device failed.
    #[error("the device failed: {0}; reload the page, or choose the CPU")]
    Device(#[from] ExecutionError),
}

/// A trained network among images that it has embedded.
pub struct Gallery {
    encoder: Encoder,
    parameters: Parameters,
    seat: Seat,
    sampler: Sampler,
    side: usize,
    normalisation: Normalisation,
    samples: Vec<Image>,
    /// One for each width.
    walls: Vec<Wall>,
}

/// The gallery as one width sees it.
struct Wall {
    /// Of unit length, one row an image.
    features: Vec<Vec<f32>>,
    map: Map,
}

impl Gallery {
    /// Reads a network from a file and embeds images of `dataset`, reporting both, while `wanted`. None if it was not any
    /// more.
    ///
    /// # Errors
    /// If the file holds no network, no image can be decoded, or the device fails.
    pub async fn open(
        seat: &Seat,
        dataset: &Dataset,
        (name, bytes): (String, Vec<u8>),
        wanted: &Cell<bool>,
    ) -> Result<Option<Self>, GalleryError> {
        let trained = Trained::read(&name, bytes)?;
        let (encoder, parameters) = trained.load(&seat.device)?;
        let config = trained.options();
        let side = config.image_size;
        let profile = profile(&encoder, side);
        let cost: u64 = profile.iter().map(|width| width.macs).sum();
        report(&Report::Network {
            name,
            architecture: architecture(&trained.config),
            steps: trained.run.as_ref().map(|run| run.step),
            side,
            profile,
        });

        let normalisation = trained.run.and_then(|run| run.normalisation).unwrap_or(match config.backbone {
            BackboneKind::Cifar => Normalisation::CIFAR10,
            BackboneKind::Resnet | BackboneKind::EfficientnetB0 => Normalisation::IMAGENET,
        });
        let sampler = Sampler::new(&Config { image_size: side, ..config }, normalisation);
        let mut gallery = Self {
            encoder,
            parameters,
            seat: seat.clone(),
            draw,
            side,
            normalisation,
            samples: Vec::new(),
            walls: Vec::new(),
        };
        let count = (COST / cost.max(1)).clamp(IMAGES[0], IMAGES[1]) as usize;
        let Some((shown, features)) = gallery.embed_all(dataset, count, wanted).await? else { return Ok(None) };
        let labels = features.first().map(|features| features.labels.clone()).unwrap_or_default();
        let maps = gallery.hang(features).await?;
        let mut sample_labels = Vec::new();
        let mut sample_pixels = Vec::new();
        for index in dataset.some(Split::Test, SAMPLES) {
            let Some(image) = dataset.image(Split::Test, index).await else { continue };
            sample_pixels.extend(gallery.seen(&gallery.pixels(&image)?));
            sample_labels.push(dataset.label(Split::Test, index));
            gallery.samples.push(image);
        }
        let hung = Report::Gallery { side, classes: dataset.classes.clone(), labels, samples: sample_labels, maps };
        report_with(&hung, &[&shown, &sample_pixels]);
        Ok(Some(gallery))
    }

    /// Features of about `count` training images, with the pixels that the network saw; none if not `wanted` any more.
    async fn embed_all(
        &mut self,
        dataset: &Dataset,
        count: usize,
        wanted: &Cell<bool>,
    ) -> Result<Option<(Vec<u8>, Vec<Features>)>, GalleryError> {
        let places = dataset.some(Split::Train, count);
        let mut shown = Vec::new();
        let mut chunks = Vec::new();
        for chunk in places.chunks(CHUNK) {
            let mut images = Vec::with_capacity(CHUNK);
            for index in chunk {
                let Some(image) = dataset.image(Split::Train, *index).await else { continue };
                let pixels = self.pixels(&image)?;
                shown.extend(self.seen(&pixels));
                images.push((*index, dataset.label(Split::Train, *index), pixels));
            }
            if !images.is_empty() {
                chunks.push(self.sampler.labelled(images));
            }
        }
        let total = chunks.len();
        let mut extractor = Extractor::new(&self.encoder, &mut self.parameters, &self.seat.device);
        for (done, chunk) in chunks.into_iter().enumerate() {
            report(&Report::Progress(Progress { what: "embedding the gallery".into(), done, total }));
            breathe().await;
            if !wanted.get() {
                return Ok(None);
            }
            extractor.add(chunk);
        }
        let features = extractor.finish().ok_or(GalleryError::NoImages)?;
        Ok(Some((shown, features)))
    }

    /// Keeps each width's features, and maps them.
    async fn hang(&mut self, features: Vec<Features>) -> Result<Vec<protocol::Map>, GalleryError> {
        let mut maps: Vec<protocol::Map> = Vec::new();
        let mut full: Vec<[f64; 2]> = Vec::new();
        for (features, width) in features.into_iter().zip(self.encoder.layout().widths().iter()) {
            let features = rows(features.normalized()).await?;
            let mut map = Map::new(&features);
            let places = |map: &Map| features.iter().map(|feature| map.place(feature)).collect::<Vec<_>>();
            let mut points = places(&map);
            if full.is_empty() {
                full = points.clone();
            } else {
                map = map.turned_towards(&points, &full);
                points = places(&map);
            }
            maps.push(protocol::Map {
                width,
                points: points.into_iter().map(narrowed).collect(),
                explained: map.explained,
            });
            self.walls.push(Wall { features, map });
        }
        Ok(maps)
    }

    /// Embeds a picture at every width, and reports it.
    ///
    /// # Errors
    /// If it is no picture, or the device fails.
    pub async fn embed(&mut self, id: u64, picture: Picture, attached: &[JsValue]) -> Result<(), GalleryError> {
        let image = self.picture(picture, attached)?;
        let pixels = self.pixels(&image)?;
        let seen = self.seen(&pixels);
        let images = TensorData::new(pixels, [1, 3, self.side, self.side]);
        let images = Tensor::<4>::from_data(images, &self.seat.device);
        let mut widths = Vec::with_capacity(self.walls.len());
        let mut embedded = Vec::with_capacity(self.walls.len());
        for (index, width) in self.encoder.layout().widths().iter().enumerate() {
            let mut times = Vec::with_capacity(RUNS);
            let mut feature = Vec::new();
            for _ in 0..RUNS {
                let began = milliseconds();
                let mut pass = Forward::new(&mut self.parameters, index, Mode::Eval);
                let features = normalize(pass.features(&self.encoder, images.clone()));
                feature = rows(features).await?.pop().unwrap_or_default();
                times.push(milliseconds() - began);
            }
            times.sort_by(f64::total_cmp);
            let wall = &self.walls[index];
            widths.push(Embedding {
                width,
                milliseconds: times[RUNS / 2],
                neighbours: wall.nearest(&feature),
                at: narrowed(wall.map.place(&feature)),
            });
            embedded.push(feature.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
        let attached: Vec<&[u8]> = std::iter::once(&seen).chain(&embedded).map(Vec::as_slice).collect();
        report_with(&Report::Embedded { id, widths }, &attached);
        Ok(())
    }

    fn picture(&self, picture: Picture, attached: &[JsValue]) -> Result<Image, GalleryError> {
        let bytes = || attached.first().and_then(parcel::bytes).ok_or(GalleryError::Lost);
        match picture {
            Picture::Sample(index) => self.samples.get(index).cloned().ok_or(GalleryError::Lost),
            Picture::File => Ok(decode::decode(Cursor::new(bytes()?))?),
            Picture::Rgba { width, height } => {
                let opaque = bytes()?.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
                Ok(Image::new(width, height, opaque)?)
            }
        }
    }

    /// The image as the network takes it.
    fn pixels(&self, image: &Image) -> Result<Vec<f32>, AugmentError> {
        self.sampler.centre(&mut Augmenter::new(), image)
    }

    /// What the network takes, as pixels that people can look at.
    fn seen(&self, pixels: &[f32]) -> Vec<u8> {
        let plane = self.side * self.side;
        let Normalisation { mean, std } = self.normalisation;
        let value = |place: usize| {
            (0..3).map(move |channel| {
                let intensity = pixels[channel * plane + place] * std[channel] + mean[channel];
                (intensity * 255.0).round().clamp(0.0, 255.0) as u8
            })
        };
        (0..plane).flat_map(value).collect()
    }
}

impl Wall {
    /// The images whose features have the greatest cosine with this one.
    fn nearest(&self, feature: &[f32]) -> Vec<(usize, f32)> {
        let cosine = |other: &Vec<f32>| feature.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        let mut all: Vec<(usize, f32)> = self.features.iter().map(cosine).enumerate().collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all.truncate(NEIGHBOURS);
        all
    }
}

/// A network in words.
fn architecture(config: &EncoderConfig) -> String {
    let channels = if config.multiplier == 1.0 { String::new() } else { format!(" x{}", config.multiplier) };
    match config.backbone {
        BackboneKind::Cifar => format!("CIFAR ResNet-{}{channels}", config.depth),
        BackboneKind::Resnet => format!("ResNet-{}{channels}", config.depth),
        BackboneKind::EfficientnetB0 => format!("EfficientNet-B0{channels}"),
    }
}

/// The rows of a matrix, on the host.
async fn rows(matrix: Tensor<2>) -> Result<Vec<Vec<f32>>, GalleryError> {
    let [_, columns] = matrix.dims();
    let values: Vec<f32> = matrix.into_data_async().await?.iter().collect();
    if !values.iter().all(|value| value.is_finite()) {
        return Err(GalleryError::NotFinite);
    }
    Ok(values.chunks_exact(columns.max(1)).map(<[f32]>::to_vec).collect())
}

fn narrowed(point: [f64; 2]) -> [f32; 2] {
    point.map(|coordinate| coordinate as f32)
}
