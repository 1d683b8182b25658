//! Batches of augmented views, made on all cores ahead of the training step.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail};
use burn::tensor::Device;
use rayon::{ThreadPool, prelude::*};
use slimclr_core::{
    augment::{Augmenter, Normalisation},
    config::Config,
    data::{
        batch::{HostBatch, LabelledImages},
        sampler::Sampler,
    },
    image::Image,
    kernel::views::DeviceImages,
    method::Batch,
    train::{Artifact, Host, Split},
};

use super::{Dataset, Images, folder};
use crate::run_folder::RunFolder;

/// Batches made ahead: enough to cover a slow one, few enough to keep memory small.
const AHEAD: usize = 3;

/// Images that are evaluated at a time.
const CHUNK: usize = 250;

/// An error of the loader, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct LoadError(anyhow::Error);

/// Feeds a run: the [`Host`] of the training loop on this machine.
pub struct Loader {
    maker: Arc<Maker>,
    folder: Option<RunFolder>,
    batches: Option<Batches>,
    began: Instant,
}

/// Where the batches of a run come from.
enum Batches {
    /// Out of training images that lie on the device.
    Device(Box<DeviceImages>),
    /// From the thread that works ahead, in turn.
    Ahead(Receiver<Result<(u64, HostBatch)>>),
}

/// Makes batches; shared with the thread that works ahead.
struct Maker {
    dataset: Dataset,
    sampler: Sampler,
    /// Not the pool of the training step, so that neither waits for the other's queue.
    pool: ThreadPool,
    skipped: Mutex<BTreeSet<PathBuf>>,
}

impl Loader {
    /// A loader of `dataset`'s images for the run that `config` describes. Without a run folder,
    /// its files are not kept.
    ///
    /// # Errors
    /// If threads cannot be started.
    pub fn new(dataset: Dataset, config: &Config, folder: Option<RunFolder>) -> Result<Self> {
        let maker = Maker {
            sampler: Sampler::new(config, dataset.normalisation),
            dataset,
            pool: rayon::ThreadPoolBuilder::new().build().context("cannot start threads")?,
            skipped: Mutex::default(),
        };
        Ok(Self { maker: Arc::new(maker), folder, batches: None, began: Instant::now() })
    }

    /// The images it loads.
    pub fn dataset(&self) -> &Dataset {
        &self.maker.dataset
    }

    fn next(&mut self, step: u64, device: &Device) -> Result<Batch> {
        let maker = &self.maker;
        let batches = self.batches.get_or_insert_with(|| match maker.upload(device) {
            Some(images) => Batches::Device(Box::new(images)),
            None => Batches::Ahead(ahead(maker.clone(), step)),
        });
        match batches {
            Batches::Device(images) => {
                let label = |index| maker.dataset.label(Split::Train, index);
                Ok(Batch::on_device(&maker.sampler, images, step, label))
            }
            Batches::Ahead(batches) => {
                let (made_for, views) = batches.recv().context("the thread that prepares images has ended")??;
                if made_for != step {
                    bail!("steps are taken in turn, but {step} was asked for after {made_for}");
                }
                Ok(Batch::from_host(views, maker.sampler.size(), device))
            }
        }
    }
}

/// The batches from `step` on, each made while those before are used.
fn ahead(maker: Arc<Maker>, mut step: u64) -> Receiver<Result<(u64, HostBatch)>> {
    let (send, receive) = sync_channel(AHEAD);
    // Ends by itself: when the loader is dropped, there is nobody left to send to.
    thread::spawn(move || {
        while send.send(maker.batch(step).map(|views| (step, views))).is_ok() {
            step += 1;
        }
    });
    receive
}

/// However the run ended, it says which images could not be decoded when their turn came.
impl Drop for Loader {
    fn drop(&mut self) {
        let skipped = self.maker.skipped.lock().expect("no thread panics while it holds the list");
        folder::warn_of_skipped(&skipped.iter().cloned().collect::<Vec<_>>());
    }
}

impl Host for Loader {
    type Error = LoadError;

    fn images(&self) -> usize {
        self.maker.dataset.len(Split::Train)
    }

    fn normalisation(&self) -> Normalisation {
        self.maker.dataset.normalisation
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    async fn batch(&mut self, step: u64, device: &Device) -> Result<Batch, LoadError> {
        self.next(step, device).map_err(LoadError)
    }

    async fn labelled(&mut self, split: Split, chunk: usize) -> Result<Option<LabelledImages>, LoadError> {
        self.maker.labelled(split, chunk).map_err(LoadError)
    }

    async fn save(&mut self, what: Artifact, file: Vec<u8>) -> Result<(), LoadError> {
        match &self.folder {
            Some(folder) => folder.keep(what, &file).map_err(LoadError),
            None => Ok(()),
        }
    }

    async fn gradients(&mut self, step: u64) -> Result<Option<Vec<u8>>, LoadError> {
        let read = |folder: &RunFolder| folder.gradients(step).transpose();
        self.folder.as_ref().and_then(read).transpose().map_err(LoadError)
    }
}

impl Maker {
    /// The training images on `device`, if it is a GPU that has room for them.
    fn upload(&self, device: &Device) -> Option<DeviceImages> {
        match self.dataset.split(Split::Train) {
            Images::Memory(images) => DeviceImages::on_gpu(images.iter().map(|(image, _)| image), device),
            Images::Files(_) => None,
        }
    }

    /// The views of each image of `step`'s batch.
    fn batch(&self, step: u64) -> Result<HostBatch> {
        let (epoch, batch) = self.sampler.batch(step, self.dataset.len(Split::Train));
        let mut pixels = self.sampler.buffers();
        let slots = self.sampler.slots(&mut pixels);
        let labels = self.pool.install(|| {
            slots
                .into_par_iter()
                .zip(batch)
                .map_init(Augmenter::new, |augmenter, (slots, index)| {
                    let (decoded, image) = self.decodable(index as usize)?;
                    self.sampler.view(augmenter, &image, (epoch, index), slots)?;
                    anyhow::Ok(self.dataset.label(Split::Train, decoded))
                })
                .collect::<Result<_>>()
        })?;
        Ok(HostBatch { pixels, labels })
    }

    /// The training image at `index`, or the next one that can be decoded, with its place.
    fn decodable(&self, index: usize) -> Result<(usize, Cow<'_, Image>)> {
        let images = self.dataset.len(Split::Train);
        (0..images)
            .map(|further| (index + further) % images)
            .find_map(|index| Some((index, self.decoded(Split::Train, index)?)))
            .ok_or_else(|| anyhow!("{}: no training image can be decoded", self.dataset.name))
    }

    /// The image at `index`, unless its file is damaged, which is noted.
    fn decoded(&self, split: Split, index: usize) -> Option<Cow<'_, Image>> {
        let image = self.dataset.image(split, index);
        if let (Err(_), Images::Files(files)) = (&image, self.dataset.split(split)) {
            let mut skipped = self.skipped.lock().expect("no thread panics while it holds the list");
            skipped.insert(files[index].0.clone());
        }
        image.ok()
    }

    fn labelled(&self, split: Split, chunk: usize) -> Result<Option<LabelledImages>> {
        let (start, end) = (chunk * CHUNK, ((chunk + 1) * CHUNK).min(self.dataset.len(split)));
        if start >= end {
            return Ok(None);
        }
        let images: Vec<(usize, u32, Vec<f32>)> = self.pool.install(|| {
            (start..end)
                .into_par_iter()
                .map_init(Augmenter::new, |augmenter, index| {
                    let Some(image) = self.decoded(split, index) else { return Ok(None) };
                    let pixels = self.sampler.centre(augmenter, &image)?;
                    Ok(Some((index, self.dataset.label(split, index), pixels)))
                })
                .filter_map(|image| image.transpose())
                .collect::<Result<_>>()
        })?;
        Ok(Some(self.sampler.labelled(images)))
    }
}
