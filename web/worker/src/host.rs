//! The training loop's host in a worker: it draws batches from the page's images and saves files in memory.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use burn::tensor::Device;
use slimclr_core::{
    augment::Augmenter,
    config::Config,
    data::{
        batch::{HostBatch, LabelledImages, ViewPairs},
        sampler::Sampler,
        subset::knn_bank,
    },
    dataset::DatasetSummary,
    image::Image,
    kernel::views::{DeviceImages, finish_for},
    method::Batch,
    train::{Artifact, Host, Split},
};

use crate::{
    browser::{milliseconds, yield_to_browser},
    images::{Dataset, ImagesError},
};

/// Test images evaluated: enough to show a trend without delaying training much.
const TEST_IMAGES: usize = 500;
/// Images whose views are compared in an evaluation.
const PAIRS: usize = 128;
/// Images evaluated before the worker yields to the browser.
const CHUNK: usize = 20;

/// The files that a run has saved, in memory.
#[derive(Debug, Default)]
pub struct SavedFiles {
    /// The latest checkpoint.
    pub checkpoint: Option<Vec<u8>>,
    /// Snapshots of the encoder, by step.
    pub snapshots: BTreeMap<u64, Vec<u8>>,
    gradients: BTreeMap<u64, Vec<u8>>,
}

/// The [`Host`] of the training loop in a worker.
pub struct BrowserHost {
    dataset: Rc<Dataset>,
    sampler: Sampler,
    augmenter: Augmenter,
    /// Indices of the training and of the test images used for evaluation.
    evaluated: [Vec<usize>; 2],
    /// The images whose views are compared: their split and indices.
    paired: (Split, Vec<usize>),
    /// The training images on the GPU, if they fit. Set by the first batch.
    on_device: OnceCell<Option<DeviceImages>>,
    saved: Rc<RefCell<SavedFiles>>,
}

impl BrowserHost {
    /// Creates the host of a run; its files go to `saved`.
    pub fn new(dataset: Rc<Dataset>, config: &Config, saved: Rc<RefCell<SavedFiles>>) -> Self {
        let labels = (0..dataset.len(Split::Train)).map(|index| dataset.label(Split::Train, index));
        let pairs = Split::of_pairs(&dataset.summary);
        Self {
            sampler: Sampler::new(config, dataset.summary.normalisation),
            augmenter: Augmenter::new(),
            evaluated: [knn_bank(config, labels), dataset.sample(Split::Test, TEST_IMAGES)],
            paired: (pairs, dataset.sample(pairs, PAIRS)),
            dataset,
            on_device: OnceCell::new(),
            saved,
        }
    }

    /// Returns the image at `index`, or `None` if its file is damaged.
    ///
    /// # Errors
    /// If too many are damaged.
    async fn image(&self, split: Split, index: usize) -> Result<Option<Image>, ImagesError> {
        let image = self.dataset.image(split, index).await;
        self.dataset.check_damage()?;
        Ok(image)
    }
}

impl Host for BrowserHost {
    type Error = ImagesError;

    fn dataset(&self) -> &DatasetSummary {
        &self.dataset.summary
    }

    fn now(&self) -> f64 {
        milliseconds() / 1e3
    }

    async fn batch(&mut self, step: u64, device: &Device) -> Result<Batch, ImagesError> {
        yield_to_browser().await;
        if let Some(images) = self.on_device.get_or_init(|| self.dataset.upload(device)) {
            return Ok(Batch::on_device(&self.sampler, images, step, |index| self.dataset.label(Split::Train, index)));
        }
        let (epoch, batch) = self.sampler.batch(step, self.dataset.len(Split::Train));
        let mut views = self.sampler.buffers(finish_for(device));
        let mut labels = Vec::with_capacity(batch.len());
        for source in self.sampler.sources((epoch, &batch), &mut views) {
            let reduction = |size| self.sampler.reduction(&source, size);
            let (decoded, image) = self.dataset.decodable(source.index as usize, reduction).await?;
            self.sampler.view(&mut self.augmenter, &image, source)?;
            labels.push(self.dataset.label(Split::Train, decoded));
        }
        Ok(Batch::from_host(HostBatch { views, labels }, device))
    }

    fn evaluated(&self, split: Split) -> usize {
        self.evaluated[usize::from(split == Split::Test)].len()
    }

    async fn labelled(&mut self, split: Split, chunk: usize) -> Result<Option<LabelledImages>, ImagesError> {
        yield_to_browser().await;
        let Some(indices) = self.evaluated[usize::from(split == Split::Test)].chunks(CHUNK).nth(chunk) else {
            return Ok(None);
        };
        let mut images = Vec::with_capacity(CHUNK);
        for index in indices {
            if let Some(image) = self.image(split, *index).await? {
                let pixels = self.sampler.centre(&mut self.augmenter, &image)?;
                images.push((*index, self.dataset.label(split, *index), pixels));
            }
        }
        Ok(Some(self.sampler.labelled(images)))
    }

    async fn view_pairs(&mut self, chunk: usize) -> Result<Option<ViewPairs>, ImagesError> {
        yield_to_browser().await;
        let (split, paired) = &self.paired;
        let Some(indices) = paired.chunks(CHUNK / 2).nth(chunk) else { return Ok(None) };
        let mut pairs = Vec::with_capacity(indices.len());
        for index in indices {
            if let Some(image) = self.image(*split, *index).await? {
                pairs.push(self.sampler.pair(&mut self.augmenter, &image, *index)?);
            }
        }
        Ok(Some(self.sampler.pairs(pairs)))
    }

    async fn save(&mut self, what: Artifact, file: Vec<u8>) -> Result<(), ImagesError> {
        let mut saved = self.saved.borrow_mut();
        match what {
            Artifact::Checkpoint => saved.checkpoint = Some(file),
            Artifact::Snapshot(step) => drop(saved.snapshots.insert(step, file)),
            Artifact::Gradients(step) => drop(saved.gradients.insert(step, file)),
        }
        Ok(())
    }

    async fn gradients(&mut self, step: u64) -> Result<Option<Vec<u8>>, ImagesError> {
        Ok(self.saved.borrow().gradients.get(&step).cloned())
    }
}
