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
use rayon::{ThreadPool, prelude::*};
use slimclr_core::{
    augment::{Augmenter, Normalisation, Recipe, epoch_order, view_rng},
    config::Config,
    eval::features::Labelled,
    image::Image,
    train::{Home, Split},
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

/// Feeds a run: the [`Home`] of the training loop on this machine.
pub struct Loader {
    maker: Arc<Maker>,
    folder: Option<RunFolder>,
    batches: Option<Receiver<Result<Batch>>>,
    began: Instant,
}

struct Batch {
    step: u64,
    views: [Vec<f32>; 2],
}

/// Makes batches; shared with the thread that works ahead.
struct Maker {
    dataset: Dataset,
    recipe: Recipe,
    size: usize,
    batch: usize,
    seed: u64,
    /// Not the pool of the training step, so that neither waits for the other's queue.
    pool: ThreadPool,
    skipped: Mutex<BTreeSet<PathBuf>>,
}

impl Loader {
    /// A loader of `dataset`'s images for the run that `config` describes. Without a run folder,
    /// checkpoints are not kept.
    ///
    /// # Errors
    /// If threads cannot be started.
    pub fn new(dataset: Dataset, config: &Config, folder: Option<RunFolder>) -> Result<Self> {
        let maker = Maker {
            recipe: Recipe::moco_v2(dataset.normalisation, config.image_size),
            dataset,
            size: config.image_size,
            batch: config.batch,
            seed: config.seed,
            pool: rayon::ThreadPoolBuilder::new().build().context("cannot start threads")?,
            skipped: Mutex::default(),
        };
        Ok(Self { maker: Arc::new(maker), folder, batches: None, began: Instant::now() })
    }

    /// The images it loads.
    pub fn dataset(&self) -> &Dataset {
        &self.maker.dataset
    }

    fn next(&mut self, step: u64) -> Result<[Vec<f32>; 2]> {
        let batches = self.batches.get_or_insert_with(|| {
            let (send, receive) = sync_channel(AHEAD);
            let maker = self.maker.clone();
            // Ends by itself: when the loader is dropped, there is nobody left to send to.
            thread::spawn(move || {
                let mut step = step;
                while send.send(maker.batch(step).map(|views| Batch { step, views })).is_ok() {
                    step += 1;
                }
            });
            receive
        });
        let batch = batches.recv().context("the thread that prepares images has ended")??;
        if batch.step != step {
            bail!("steps are taken in turn, but {step} was asked for after {}", batch.step);
        }
        Ok(batch.views)
    }
}

/// However the run ended, it says which images could not be decoded when their turn came.
impl Drop for Loader {
    fn drop(&mut self) {
        let skipped = self.maker.skipped.lock().expect("no thread panics while it holds the list");
        folder::warn_of_skipped(&skipped.iter().cloned().collect::<Vec<_>>());
    }
}

impl Home for Loader {
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

    async fn views(&mut self, step: u64) -> Result<[Vec<f32>; 2], LoadError> {
        self.next(step).map_err(LoadError)
    }

    async fn labelled(&mut self, split: Split, chunk: usize) -> Result<Option<Labelled>, LoadError> {
        self.maker.labelled(split, chunk).map_err(LoadError)
    }

    async fn keep(&mut self, checkpoint: Vec<u8>) -> Result<(), LoadError> {
        match &self.folder {
            Some(folder) => folder.keep_checkpoint(&checkpoint).map_err(LoadError),
            None => Ok(()),
        }
    }
}

impl Maker {
    /// Two views of each image of `step`'s batch.
    fn batch(&self, step: u64) -> Result<[Vec<f32>; 2]> {
        let images = self.dataset.len(Split::Train);
        let steps_per_epoch = (images / self.batch) as u64;
        let (epoch, place) = (step / steps_per_epoch, (step % steps_per_epoch) as usize * self.batch);
        let order = epoch_order(self.seed, epoch, images);
        let pixels = 3 * self.size * self.size;
        let mut views = [vec![0.0; self.batch * pixels], vec![0.0; self.batch * pixels]];
        let [first, second] = &mut views;
        self.pool.install(|| {
            first
                .par_chunks_exact_mut(pixels)
                .zip(second.par_chunks_exact_mut(pixels))
                .zip(&order[place..place + self.batch])
                .try_for_each_init(Augmenter::new, |augmenter, ((first, second), index)| {
                    let image = self.decodable(*index as usize)?;
                    for (number, view) in [first, second].into_iter().enumerate() {
                        let mut rng = view_rng(self.seed, epoch, u64::from(*index), number as u64);
                        augmenter.view(&image, &self.recipe, self.size, &mut rng, view)?;
                    }
                    anyhow::Ok(())
                })
        })?;
        Ok(views)
    }

    /// The training image at `index`, or the next one that can be decoded.
    fn decodable(&self, index: usize) -> Result<Cow<'_, Image>> {
        let images = self.dataset.len(Split::Train);
        (0..images)
            .find_map(|further| self.decoded(Split::Train, (index + further) % images))
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

    fn labelled(&self, split: Split, chunk: usize) -> Result<Option<Labelled>> {
        let (start, end) = (chunk * CHUNK, ((chunk + 1) * CHUNK).min(self.dataset.len(split)));
        if start >= end {
            return Ok(None);
        }
        let images: Vec<(usize, Vec<f32>)> = self.pool.install(|| {
            (start..end)
                .into_par_iter()
                .map_init(Augmenter::new, |augmenter, index| {
                    let Some(image) = self.decoded(split, index) else { return Ok(None) };
                    let mut pixels = vec![0.0; 3 * self.size * self.size];
                    augmenter.centre(&image, self.size, &self.recipe.normalisation, &mut pixels)?;
                    Ok(Some((index, pixels)))
                })
                .filter_map(|image| image.transpose())
                .collect::<Result<_>>()
        })?;
        let indices: Vec<usize> = images.iter().map(|(index, _)| *index).collect();
        let labels = indices.iter().map(|index| self.dataset.label(split, *index)).collect();
        let pixels = images.into_iter().flat_map(|(_, pixels)| pixels).collect();
        Ok(Some(Labelled { pixels, labels, indices, size: self.size }))
    }
}
