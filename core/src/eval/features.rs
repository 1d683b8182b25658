//! Features of labelled images, for every width in one pass over the images.

use std::{fmt::Debug, ops::Range, rc::Rc};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::{
    cancellable::yield_now,
    data::batch::LabelledImages,
    encoder::Encoder,
    forward::{Forward, Mode},
    kernel::{device::is_gpu, ranks::Ranks, threads::threads},
    parameter::Parameters,
    precision::{Precision, is_supported},
};

/// Pixels that pass through a network at once on a GPU, which bounds the memory of activations: 64 images of 224 by 224
/// pixels.
const PIXELS_AT_ONCE: usize = 64 * 224 * 224;
/// The same on a CPU: a second's work of two cores for a ResNet-50.
const PIXELS_ON_CPU: usize = 1 << 18;

/// A matrix `[n, f]` whose rows are read onto a device a few at a time, because it may be larger than memory.
pub trait Rows: Debug {
    /// Returns the number of rows and of columns.
    fn dims(&self) -> [usize; 2];

    /// Returns the device that rows are read onto.
    fn device(&self) -> Device;

    /// Reads consecutive rows.
    fn rows(&self, range: Range<usize>) -> Tensor<2>;

    /// Reads the rows with these indices, in this order.
    fn select(&self, indices: &[u32]) -> Tensor<2>;
}

/// A matrix in the device's memory.
impl Rows for Tensor<2> {
    fn dims(&self) -> [usize; 2] {
        Tensor::dims(self)
    }

    fn device(&self) -> Device {
        Tensor::device(self)
    }

    fn rows(&self, range: Range<usize>) -> Tensor<2> {
        self.clone().slice([range])
    }

    fn select(&self, indices: &[u32]) -> Tensor<2> {
        let indices = Tensor::<1, Int>::from_data(TensorData::from(indices), &Tensor::device(self));
        Tensor::select(self.clone(), 0, indices)
    }
}

/// Divides `0..count` into consecutive ranges of `size`; the last one may be shorter.
pub(crate) fn chunks(count: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(size).map(move |start| start..(start + size).min(count))
}

/// Returns how many images of this side pass through a network at once, so that a run is stopped in time.
pub(crate) fn images_at_once(device: &Device, size: usize) -> usize {
    match is_gpu(device) {
        true => (PIXELS_AT_ONCE / (size * size)).max(1),
        false => (PIXELS_ON_CPU / (size * size)).max(threads()),
    }
}

/// One width's features of a set of images.
#[derive(Debug, Clone)]
pub struct Features {
    /// The backbone's output, before the head: `[n, f]`.
    pub values: Rc<dyn Rows>,
    /// The class of each image.
    pub labels: Vec<u32>,
    /// The index of each image in its set.
    pub indices: Vec<usize>,
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
        Tensor::from_data(TensorData::new(targets, shape), &self.values.device())
    }
}

/// The features of some images of a set.
#[derive(Debug, Clone)]
pub struct FeatureChunk {
    /// The features at each width, widest first: `[n, f]`.
    pub values: Vec<Tensor<2>>,
    /// The class of each image.
    pub labels: Vec<u32>,
    /// The index of each image in its set.
    pub indices: Vec<usize>,
}

/// Computes the features of images.
pub struct Extractor<'a> {
    encoder: &'a Encoder,
    parameters: &'a mut Parameters,
    device: &'a Device,
    /// Indices of the widths that it runs.
    widths: Range<usize>,
    precision: Precision,
}

impl<'a> Extractor<'a> {
    /// Creates an extractor of a network's features at every width.
    pub fn new(encoder: &'a Encoder, parameters: &'a mut Parameters, device: &'a Device) -> Self {
        Self { encoder, parameters, device, widths: 0..encoder.layout().widths().len(), precision: Precision::F32 }
    }

    /// Restricts it to the widths with these indices: what is said below of every width then holds for these.
    pub fn at_widths(self, widths: Range<usize>) -> Self {
        Self { widths, ..self }
    }

    /// Computes convolutions and linear layers in `precision`, if the device supports it.
    pub fn in_precision(self, precision: Precision) -> Self {
        if is_supported(precision, self.device) { Self { precision, ..self } } else { self }
    }

    /// Runs every width's backbone over images, in evaluation mode. Returns `None` if there are none. It may be cancelled
    /// every few images.
    pub async fn extract(&mut self, images: LabelledImages) -> Option<FeatureChunk> {
        let LabelledImages { pixels, labels, indices, size } = images;
        if labels.is_empty() {
            return None;
        }
        let values = self.run(pixels, size, |forward, encoder, images| forward.features(encoder, images)).await;
        Some(FeatureChunk { values, labels, indices })
    }

    /// Computes every width's embeddings, widest first, in evaluation mode: the outputs of the head, without any
    /// predictor. Shapes: pixels `[n, 3, size, size]`, with at least one image, to `[n, D]`. It may be cancelled every few
    /// images.
    pub async fn embed(&mut self, pixels: Vec<f32>, size: usize) -> Vec<Tensor<2>> {
        self.run(pixels, size, |forward, encoder, images| forward.project(encoder, images)).await
    }

    /// Computes `outputs` of a few images at a time at every width.
    async fn run(
        &mut self,
        pixels: Vec<f32>,
        size: usize,
        outputs: impl Fn(&mut Forward, &Encoder, Tensor<4>) -> Tensor<2>,
    ) -> Vec<Tensor<2>> {
        let count = pixels.len() / (3 * size * size);
        let images = Tensor::<4>::from_data(TensorData::new(pixels, [count, 3, size, size]), self.device);
        let mut values = vec![Vec::new(); self.widths.len()];
        for part in chunks(count, images_at_once(self.device, size)) {
            let part = images.clone().slice([part]);
            for (width, values) in self.widths.clone().zip(&mut values) {
                let mut forward = Forward::new(self.parameters, width, Mode::Eval).in_precision(self.precision);
                values.push(outputs(&mut forward, self.encoder, part.clone()));
                yield_now().await;
            }
        }
        values.into_iter().map(|parts| Tensor::cat(parts, 0)).collect()
    }
}

/// Collects the features of a set of images in the device's memory.
#[derive(Debug, Default)]
pub struct Collector {
    /// For each width, the features of each chunk.
    values: Vec<Vec<Tensor<2>>>,
    labels: Vec<u32>,
    indices: Vec<usize>,
}

impl Collector {
    /// Adds the features of more images.
    pub fn add(&mut self, chunk: FeatureChunk) {
        self.values.resize(chunk.values.len(), Vec::new());
        self.values.iter_mut().zip(chunk.values).for_each(|(chunks, values)| chunks.push(values));
        self.labels.extend(chunk.labels);
        self.indices.extend(chunk.indices);
    }

    /// Joins the features that the ranks have collected, of these `sizes` at the widths, in the order of the images'
    /// indices.
    pub fn gathered(self, ranks: &Ranks, sizes: impl Iterator<Item = usize>, device: &Device) -> Self {
        if ranks.is_single() {
            return self;
        }
        let numbers =
            self.indices.iter().zip(&self.labels).flat_map(|(index, label)| [*index as u64, u64::from(*label)]);
        let numbers = ranks.gather_bytes(numbers.flat_map(u64::to_le_bytes).collect());
        let numbers: Vec<u64> = numbers.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let mut images: Vec<(u64, u64, i32)> =
            numbers.as_chunks().0.iter().zip(0..).map(|([index, label], row)| (*index, *label, row)).collect();
        images.sort_unstable();
        let rows: Vec<i32> = images.iter().map(|(.., row)| *row).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::from(rows.as_slice()), device);
        let mut chunks = self.values.into_iter();
        let of_width = |size: usize| {
            let own = chunks.next().filter(|chunks| !chunks.is_empty());
            let own = own.map(|chunks| Tensor::cat(chunks, 0).into_data().convert::<f32>().as_bytes().to_vec());
            let all = ranks.gather_bytes(own.unwrap_or_default());
            let all = TensorData::from_bytes_vec(all, [images.len(), size], DType::F32);
            vec![Tensor::<2>::from_data(all, device).select(0, rows.clone())]
        };
        let values = if images.is_empty() { Vec::new() } else { sizes.map(of_width).collect() };
        Self {
            values,
            labels: images.iter().map(|(_, label, _)| *label as u32).collect(),
            indices: images.iter().map(|(index, ..)| *index as usize).collect(),
        }
    }

    /// Returns the features of each width, widest first; `None` if there was no image.
    pub fn finish(self) -> Option<Vec<Features>> {
        let of_width = |chunks| Features {
            values: Rc::new(Tensor::cat(chunks, 0)),
            labels: self.labels.clone(),
            indices: self.indices.clone(),
        };
        (!self.labels.is_empty()).then(|| self.values.into_iter().map(of_width).collect())
    }
}
