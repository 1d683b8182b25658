//! Images for networks in 8 bits: they give the ranges of the network's values, and show what the 8 bits cost.

use std::{path::Path, rc::Rc};

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use futures::executor::block_on;
use slimclr_core::{
    data::batch::LabelledImages,
    eval::{features::Features, knn::knn},
    event::NoAccuracy,
    interchange::{
        onnx::{OnnxNetwork, Ranges, Runtime},
        pretrained::Pretrained,
    },
    train::{Host, Split},
};

use crate::{
    data::{self, loader::Loader},
    model_card::{Int8, Int8Accuracy},
    run_folder::RunFolder,
    run_images::RunImages,
    shell,
    terminal::Progress,
};

/// Training images that the ranges are taken from.
const CALIBRATION: usize = 256;
/// Training images that vote in the comparison of accuracies, and test images that are classified.
const BANK: usize = 2000;
const TESTED: usize = 1000;

/// The images.
pub struct Calibration {
    loader: Loader,
    /// Neighbours in the vote.
    knn: usize,
}

/// The features that a network has of some images in f32 and in 8 bits.
struct Compared {
    precise: Features,
    rounded: Features,
}

impl Calibration {
    /// Opens the images: those in `data` if it is given, or else those of the run in the folder `run`.
    ///
    /// # Errors
    /// If there are none, or those of the run have changed.
    pub fn open(run: &Path, data: Option<&str>, trained: &Pretrained) -> Result<Self> {
        let dataset = match data {
            Some(data) => data::open(data)?,
            None if run.is_dir() => {
                let folder = RunFolder::open(run)?;
                let known = trained.run.as_ref().and_then(|run| run.dataset.as_ref());
                RunImages::of(&folder)?.open_unchanged(known, |images| {
                    format!("calibrate on these: add --data {} to the command", shell::path(images))
                })?
            }
            None => bail!(
                "--precisions int8 is calibrated on images, but {} has none: name a folder of images with --data",
                run.display()
            ),
        };
        let config = trained.options();
        Ok(Self { knn: config.knn, loader: Loader::new(dataset, &config, None)? })
    }

    /// Returns a network, which should have no norms, in 8 bits, and what this changes.
    ///
    /// # Errors
    /// If the images cannot be read.
    pub fn quantize(&self, network: &OnnxNetwork) -> Result<(OnnxNetwork, Int8)> {
        let device = Device::flex();
        let runtime = Runtime::new(network, &device);
        let mut ranges = Ranges::default();
        let calibration_images = self.for_each(Split::Train, CALIBRATION, "calibrating", |images| {
            Ok(block_on(ranges.observe(&runtime, pixels(&images, &device)))?)
        })?;
        let quantized = network.in_int8(&ranges);
        let runtimes = [&runtime, &Runtime::new(&quantized, &device)];
        let test = self.compare(Split::Test, TESTED, runtimes)?;
        let bank = self.compare(Split::Train, BANK, runtimes)?.context("no training image can be read")?;
        let has_labels = self.loader.dataset().has_labels();
        let accuracy = match &test {
            Some(test) if NoAccuracy::of(has_labels, &bank.precise.labels, &test.precise.labels).is_none() => {
                let of = |bank: &Features, test: &Features| {
                    Ok::<_, anyhow::Error>(block_on(knn(bank, test, self.knn))?.vote.fraction)
                };
                Some(Int8Accuracy {
                    knn: of(&bank.rounded, &test.rounded)?,
                    knn_f32: of(&bank.precise, &test.precise)?,
                    test_images: test.precise.labels.len(),
                    training_images: bank.precise.labels.len(),
                    neighbours: self.knn,
                })
            }
            _ => None,
        };
        let cosine_with_f32 = test.as_ref().unwrap_or(&bank).cosine();
        Ok((quantized, Int8 { calibration_images, cosine_with_f32, accuracy }))
    }

    /// Computes the features of a sample of images; `None` if there are none.
    fn compare(&self, split: Split, count: usize, runtimes: [&Runtime; 2]) -> Result<Option<Compared>> {
        let device = Device::flex();
        let mut values = [(); 2].map(|()| Vec::new());
        let (mut labels, mut indices) = (Vec::new(), Vec::new());
        let images = self.for_each(split, count, "comparing 8 bits with f32", |images| {
            let pixels = pixels(&images, &device);
            for (values, runtime) in values.iter_mut().zip(runtimes) {
                values.extend(runtime.run(pixels.clone()).into_iter().next());
            }
            labels.extend(images.labels);
            indices.extend(images.indices);
            Ok(())
        })?;
        if images == 0 {
            return Ok(None);
        }
        let [precise, rounded] = values.map(|values| Features {
            values: Rc::new(Tensor::<2>::cat(values, 0)),
            labels: labels.clone(),
            indices: indices.clone(),
        });
        Ok(Some(Compared { precise, rounded }))
    }

    /// Passes a sample of at most `count` images of a split to `use_images`, some at a time. Returns how many there were.
    fn for_each(
        &self,
        split: Split,
        count: usize,
        task: &str,
        mut use_images: impl FnMut(LabelledImages) -> Result<()>,
    ) -> Result<usize> {
        let progress = Progress::new(count.min(self.loader.images().len(split)) as u64, "images", task);
        let (mut used, mut chunk) = (0, 0);
        while let Some(images) = block_on(self.loader.sample(split, count, chunk))? {
            let read = images.labels.len();
            if read > 0 {
                use_images(images)?;
            }
            progress.inc(read);
            (used, chunk) = (used + read, chunk + 1);
        }
        Ok(used)
    }
}

impl Compared {
    /// Returns the mean cosine of an image's features in f32 and in 8 bits.
    fn cosine(&self) -> f64 {
        let all = |features: &Features| features.values.rows(0..features.labels.len());
        let (a, b) = (all(&self.precise), all(&self.rounded));
        let sum = |x: Tensor<2>| x.sum_dim(1);
        let norms = (sum(a.clone() * a.clone()) * sum(b.clone() * b.clone())).sqrt();
        f64::from((sum(a * b) / norms).mean().into_scalar::<f32>())
    }
}

/// Returns images on a device, `[n, 3, size, size]`.
fn pixels(images: &LabelledImages, device: &Device) -> Tensor<4> {
    let LabelledImages { pixels, labels, size, .. } = images;
    Tensor::from_data(TensorData::new(pixels.clone(), [labels.len(), 3, *size, *size]), device)
}
