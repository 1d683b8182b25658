//! Makes batches of augmented views on all cores, ahead of the training step.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use futures::{
    SinkExt, StreamExt,
    channel::{
        mpsc::{Receiver, channel},
        oneshot,
    },
    executor::block_on,
};
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};
use slimclr_core::{
    augment::Augmenter,
    config::Config,
    data::{
        bags::Bags,
        batch::{HostBatch, HostViews, LabelledImages, ViewPairs},
        folder::Purpose,
        reduced::ReducedImage,
        sampler::{Finish, Sampler, sample},
        subset::knn_bank,
    },
    dataset::DatasetSummary,
    eval::features::Features,
    kernel::views::{DeviceImages, finish_for},
    method::Batch,
    train::{Artifact, Host, Split},
};

use super::{
    damage::Damage,
    dataset::{Dataset, Images, Stored},
    shards::ShardReader,
};
use crate::{ranks::ranks, run_folder::RunFolder, terminal::warn};

/// Batches made in advance: enough to hide a slow one, few enough to keep memory small.
const PREFETCH: usize = 3;

/// Images per evaluation batch: fewer of files, so that decoding them takes well under a second.
const CHUNK: usize = 250;
const CHUNK_OF_FILES: usize = 32;

/// Images whose views are compared in an evaluation: enough for two digits, few beside those that kNN needs.
const PAIRS: usize = 512;

/// Of those, the ones that pass through the network at once.
const PAIRS_AT_ONCE: usize = 64;

/// An error of the loader, as text.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct LoadError(anyhow::Error);

/// The [`Host`] of a run on this machine: makes its batches and saves its files.
pub struct Loader {
    maker: Arc<BatchMaker>,
    folder: Option<RunFolder>,
    batches: Option<Batches>,
    /// The teacher's features of the training images that are not damaged, if they are cached.
    teacher_features: Option<Features>,
    start: Instant,
}

/// The source of a run's batches.
enum Batches {
    /// Training images on the device, where their views are made.
    Device(Box<DeviceImages>),
    /// A thread that makes the batches of consecutive steps in advance.
    Prefetched(Receiver<Result<(u64, HostBatch)>>),
}

/// Makes batches. Shared with the prefetching thread.
struct BatchMaker {
    dataset: Dataset,
    sampler: Sampler,
    /// Indices of the training images that evaluations use.
    bank: Vec<usize>,
    /// Separate from the pool of the training step, so that neither waits for the other's queue.
    pool: ThreadPool,
    damage: Damage,
}

impl Loader {
    /// Creates a loader of `dataset` for a run with the options `config`. Without a folder, the run's files are not
    /// saved.
    ///
    /// # Errors
    /// If threads cannot be started.
    pub fn new(dataset: Dataset, config: &Config, folder: Option<RunFolder>) -> Result<Self> {
        Self::for_purpose(Purpose::Training, dataset, config, folder)
    }

    /// Creates a loader that prepares the images of `dataset` as a run with the options `config` does, for its trained
    /// network.
    ///
    /// # Errors
    /// If threads cannot be started.
    pub fn for_features(dataset: Dataset, config: &Config) -> Result<Self> {
        Self::for_purpose(Purpose::Features, dataset, config, None)
    }

    fn for_purpose(purpose: Purpose, dataset: Dataset, config: &Config, folder: Option<RunFolder>) -> Result<Self> {
        let ranks = ranks();
        let sampler = Sampler::new(config, dataset.summary().normalisation);
        let mut sampler = sampler.of_rank(ranks.rank(), ranks.count());
        if let Images::Shards(images) = dataset.split(Split::Train) {
            sampler = sampler.with_shards(images.order());
        }
        let labels = (0..dataset.len(Split::Train)).map(|index| dataset.label(Split::Train, index));
        let maker = BatchMaker {
            bank: knn_bank(config, labels),
            sampler,
            damage: Damage::new([Split::Train, Split::Test].map(|split| dataset.len(split)).iter().sum(), purpose),
            dataset,
            pool: ThreadPoolBuilder::new()
                .num_threads(rayon::current_num_threads())
                .build()
                .context("cannot start threads")?,
        };
        Ok(Self { maker: Arc::new(maker), folder, batches: None, teacher_features: None, start: Instant::now() })
    }

    /// Sets the bags of the training images, for a method that takes views of their members.
    ///
    /// # Errors
    /// If the bags are of other images, the images are in shards, or images are being prepared.
    pub fn set_bags(&mut self, bags: Bags) -> Result<()> {
        self.images().check_random_access()?;
        let images = self.images().len(Split::Train);
        if bags.images() != images {
            bail!(
                "the bags are of {} images, but there are {images} training images: make the bags again",
                bags.images()
            );
        }
        let maker = Arc::get_mut(&mut self.maker).context("images are being prepared")?;
        maker.sampler.set_bags(bags);
        Ok(())
    }

    /// Sets the teacher's features of the training images, which batches then have.
    pub fn set_teacher_features(&mut self, features: Features) {
        self.teacher_features = Some(features);
    }

    /// Returns the teacher's features of the images of `step`'s batch, if they are cached.
    fn teacher_features(&self, step: u64) -> Option<Tensor<2>> {
        let features = self.teacher_features.as_ref()?;
        let (_, batch) = self.maker.sampler.batch(step, self.images().len(Split::Train));
        let count = features.indices.len();
        // As the views are, those of a damaged image are of the next one.
        let row = |image: &u32| (features.indices.partition_point(|index| *index < *image as usize) % count) as u32;
        Some(features.values.select(&batch.iter().map(row).collect::<Vec<_>>()))
    }

    /// Returns a chunk of all images of a split, or `None` after the last. Chunks are numbered from 0.
    ///
    /// # Errors
    /// If an image cannot be read.
    pub async fn all(&self, split: Split, chunk: usize) -> Result<Option<LabelledImages>, LoadError> {
        self.in_pool(move |maker| maker.chunk(split, chunk, maker.dataset.len(split), |place| place)).await
    }

    /// Returns a chunk of a sample of at most `count` images of a split, the same ones each time, or `None` after the
    /// last. Chunks are numbered from 0.
    ///
    /// # Errors
    /// If an image cannot be read.
    pub async fn sample(&self, split: Split, count: usize, chunk: usize) -> Result<Option<LabelledImages>, LoadError> {
        self.in_pool(move |maker| {
            let sample = sample(maker.dataset.len(split), count);
            maker.chunk(split, chunk, sample.len(), |place| sample[place])
        })
        .await
    }

    /// Makes the views of at most `images` images of the run's first batch, finished on the host.
    ///
    /// # Errors
    /// If no image can be read.
    pub fn first_views(&self, images: usize) -> Result<Vec<HostViews>> {
        let (epoch, mut batch) = self.maker.sampler.batch(0, self.maker.dataset.len(Split::Train));
        batch.truncate(images);
        Ok(self.maker.views((epoch, &batch), Finish::Host, None)?.views)
    }

    /// Returns the images.
    pub fn images(&self) -> &Dataset {
        &self.maker.dataset
    }

    /// Prepares images in the thread pool, so that a run is not kept from stopping.
    async fn in_pool<T: Send + 'static>(
        &self,
        prepare: impl FnOnce(&BatchMaker) -> Result<T> + Send + 'static,
    ) -> Result<T, LoadError> {
        let (send, prepared) = oneshot::channel();
        let maker = self.maker.clone();
        self.maker.pool.spawn(move || drop(send.send(prepare(&maker))));
        prepared.await.context("the thread that prepares images has ended").flatten().map_err(LoadError)
    }

    async fn next(&mut self, step: u64, device: &Device) -> Result<Batch> {
        let maker = &self.maker;
        let batches = self.batches.get_or_insert_with(|| match maker.upload(device) {
            Some(images) => Batches::Device(Box::new(images)),
            None => Batches::Prefetched(prefetch(maker.clone(), step, finish_for(device))),
        });
        match batches {
            Batches::Device(images) => {
                let label = |index| maker.dataset.label(Split::Train, index);
                Ok(Batch::on_device(&maker.sampler, images, step, label))
            }
            Batches::Prefetched(batches) => {
                let (made_for, views) = batches.next().await.context("the thread that prepares images has ended")??;
                if made_for != step {
                    bail!("batches are made for consecutive steps: step {made_for} is next, not step {step}");
                }
                Ok(Batch::from_host(views, device))
            }
        }
    }
}

/// Starts a thread that makes the batches from `step` on in advance.
fn prefetch(maker: Arc<BatchMaker>, mut step: u64, finish: Finish) -> Receiver<Result<(u64, HostBatch)>> {
    // The sender has room for one more.
    let (mut send, receive) = channel(PREFETCH - 1);
    let files = read_shards(&maker, step);
    // The thread ends when the loader is dropped, because sending then fails.
    thread::spawn(move || {
        let next =
            || files.as_ref().map(|files| files.recv().context("the thread that reads shards has ended")).transpose();
        loop {
            let views = next().and_then(|files| maker.batch(step, finish, files)).map(|views| (step, views));
            if block_on(send.send(views)).is_err() {
                break;
            }
            step += 1;
        }
    });
    receive
}

/// Starts a thread that reads the image files of the batches from `step` on from shards, while earlier batches are made
/// of others. Returns `None` if the training images are not in shards.
fn read_shards(maker: &Arc<BatchMaker>, mut step: u64) -> Option<mpsc::Receiver<Vec<Result<Vec<u8>>>>> {
    let Images::Shards(images) = maker.dataset.split(Split::Train) else { return None };
    let (maker, images) = (maker.clone(), images.clone());
    let (send, receive) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut latest: Option<(u64, ShardReader)> = None;
        loop {
            let (epoch, batch) = maker.sampler.batch(step, images.len());
            let (_, mut reader) = latest
                .take()
                .filter(|(of, _)| *of == epoch)
                .unwrap_or_else(|| (epoch, ShardReader::start(&images, maker.sampler.streams(step, images.len()))));
            let files = batch.into_iter().map(|index| reader.take(index)).collect();
            if send.send(files).is_err() {
                break;
            }
            latest = Some((epoch, reader));
            step += 1;
        }
    });
    Some(receive)
}

/// Warns at the end of a run, also of a failed one, of the damaged images.
impl Drop for Loader {
    fn drop(&mut self) {
        if let Some(summary) = self.maker.damage.summary() {
            warn(&summary);
        }
    }
}

impl Host for Loader {
    type Error = LoadError;

    fn dataset(&self) -> &DatasetSummary {
        self.maker.dataset.summary()
    }

    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    async fn batch(&mut self, step: u64, device: &Device) -> Result<Batch, LoadError> {
        let batch = self.next(step, device).await.map_err(LoadError)?;
        Ok(Batch { teacher_features: self.teacher_features(step), ..batch })
    }

    fn evaluated(&self, split: Split) -> usize {
        self.maker.evaluated(split)
    }

    async fn labelled(&mut self, split: Split, chunk: usize) -> Result<Option<LabelledImages>, LoadError> {
        self.in_pool(move |maker| maker.labelled(split, chunk)).await
    }

    async fn view_pairs(&mut self, chunk: usize) -> Result<Option<ViewPairs>, LoadError> {
        self.in_pool(move |maker| maker.view_pairs(chunk)).await
    }

    async fn save(&mut self, what: Artifact, file: Vec<u8>) -> Result<(), LoadError> {
        match &self.folder {
            Some(folder) => folder.save(what, &file).map_err(LoadError),
            None => Ok(()),
        }
    }

    async fn gradients(&mut self, step: u64) -> Result<Option<Vec<u8>>, LoadError> {
        let read = |folder: &RunFolder| folder.gradients(step).transpose();
        self.folder.as_ref().and_then(read).transpose().map_err(LoadError)
    }
}

impl BatchMaker {
    /// Uploads the training images to `device` if it is a GPU with enough memory.
    fn upload(&self, device: &Device) -> Option<DeviceImages> {
        match self.dataset.split(Split::Train) {
            Images::Memory(images) => DeviceImages::on_gpu(images.iter().map(|(image, _)| image), device),
            Images::Files(_) | Images::Shards(_) => None,
        }
    }

    /// Makes the views of `step`'s batch. `files` are those of its images, if they were read before.
    fn batch(&self, step: u64, finish: Finish, files: Option<Vec<Result<Vec<u8>>>>) -> Result<HostBatch> {
        let (epoch, batch) = self.sampler.batch(step, self.dataset.len(Split::Train));
        self.views((epoch, &batch), finish, files)
    }

    /// Makes the views of these images in this epoch. `files` are those of the images, if they were read before.
    fn views(
        &self,
        (epoch, batch): (u64, &[u32]),
        finish: Finish,
        files: Option<Vec<Result<Vec<u8>>>>,
    ) -> Result<HostBatch> {
        let mut views = self.sampler.buffers(finish);
        let sources = self.sampler.sources((epoch, batch), &mut views);
        let files: Vec<Option<Result<Vec<u8>>>> = match files {
            Some(files) => files.into_iter().map(Some).collect(),
            None => sources.iter().map(|_| None).collect(),
        };
        let mut labels: Vec<u32> = self.pool.install(|| {
            sources
                .into_par_iter()
                .zip(files)
                .map_init(Augmenter::new, |augmenter, (source, file)| {
                    let file = file.map(|file| file.map(Stored::Encoded));
                    let reduction = |size| self.sampler.reduction(&source, size);
                    let (decoded, image) = self.decode_or_next(source.index as usize, file, reduction)?;
                    self.sampler.view(augmenter, &image, source)?;
                    anyhow::Ok(self.dataset.label(Split::Train, decoded))
                })
                .collect::<Result<_>>()
        })?;
        // Those of bag members come last.
        labels.truncate(batch.len());
        Ok(HostBatch { views, labels })
    }

    /// Decodes the training image at `index`, or the next one that is not damaged, at the reduction that is right for
    /// its size. Returns it with its index. `file` is the image, if it was read before.
    fn decode_or_next<'a>(
        &'a self,
        index: usize,
        mut file: Option<Result<Stored<'a>>>,
        reduction: impl Fn([usize; 2]) -> usize,
    ) -> Result<(usize, ReducedImage<'a>)> {
        let images = self.dataset.len(Split::Train);
        for offset in 0..images {
            let index = (index + offset) % images;
            let decode = |stored: Stored<'a>| stored.decode_reduced(&reduction);
            if let Some(image) = self.unless_damaged((Split::Train, index), file.take(), decode)? {
                return Ok((index, image));
            }
        }
        bail!("{}: no training image can be decoded; replace the damaged files", self.dataset.name)
    }

    /// Decodes the image at `index` by `decode`, and reads it first unless it is `file`. Returns `None`, and remembers it,
    /// if it is damaged. If the folder of the images is gone, waits for it.
    fn unless_damaged<'a, T>(
        &'a self,
        (split, index): (Split, usize),
        mut file: Option<Result<Stored<'a>>>,
        decode: impl Fn(Stored<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.damage.is_known(split, index) {
            return Ok(None);
        }
        loop {
            let stored = file.take().unwrap_or_else(|| self.dataset.stored(split, index));
            let error = match stored.map(&decode) {
                Ok(Ok(image)) => return Ok(Some(image)),
                Ok(Err(damaged)) => damaged,
                Err(unread) => match self.dataset.root() {
                    Some(root) if self.damage.wait_for(root)? => continue,
                    _ => unread,
                },
            };
            self.damage.record((split, index), &self.dataset.image_name(split, index), &error)?;
            return Ok(None);
        }
    }

    fn evaluated(&self, split: Split) -> usize {
        match split {
            Split::Train => self.bank.len(),
            Split::Test => self.dataset.len(split),
        }
    }

    fn labelled(&self, split: Split, chunk: usize) -> Result<Option<LabelledImages>> {
        let index = |place: usize| if split == Split::Train { self.bank[place] } else { place };
        self.chunk(split, chunk, self.evaluated(split), index)
    }

    /// Returns a chunk of `count` images of a split, at the indices that `index` gives their places.
    fn chunk(
        &self,
        split: Split,
        chunk: usize,
        count: usize,
        index: impl Fn(usize) -> usize + Sync,
    ) -> Result<Option<LabelledImages>> {
        let size = match self.dataset.split(split) {
            Images::Memory(_) => CHUNK,
            Images::Files(_) | Images::Shards(_) => CHUNK_OF_FILES,
        };
        let (start, end) = (chunk * size, ((chunk + 1) * size).min(count));
        if start >= end {
            return Ok(None);
        }
        let images: Vec<(usize, u32, Vec<f32>)> = self.pool.install(|| {
            (start..end)
                .into_par_iter()
                .map_init(Augmenter::new, |augmenter, place| {
                    let index = index(place);
                    let Some(image) = self.unless_damaged((split, index), None, Stored::decode)? else {
                        return Ok(None);
                    };
                    let pixels = self.sampler.centre(augmenter, &image)?;
                    Ok(Some((index, self.dataset.label(split, index), pixels)))
                })
                .filter_map(|image| image.transpose())
                .collect::<Result<_>>()
        })?;
        Ok(Some(self.sampler.labelled(images)))
    }

    fn view_pairs(&self, chunk: usize) -> Result<Option<ViewPairs>> {
        let split = Split::of_pairs(self.dataset.summary());
        let sample = sample(self.dataset.len(split), PAIRS);
        let Some(indices) = sample.chunks(PAIRS_AT_ONCE).nth(chunk) else { return Ok(None) };
        let pairs: Vec<[Vec<f32>; 2]> = self.pool.install(|| {
            let pair = |augmenter: &mut Augmenter, index: &usize| {
                let Some(image) = self.unless_damaged((split, *index), None, Stored::decode)? else {
                    return Ok(None);
                };
                Ok(Some(self.sampler.pair(augmenter, &image, *index)?))
            };
            let pairs = indices.par_iter().map_init(Augmenter::new, pair);
            pairs.filter_map(|pair| pair.transpose()).collect::<Result<_>>()
        })?;
        Ok(Some(self.sampler.pairs(pairs)))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod throughput;
