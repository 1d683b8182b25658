//! Images that the page hands over, and the training loop's home among them.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeMap,
    io::Cursor,
    rc::Rc,
};

use burn::tensor::Device;
use js_sys::Uint8Array;
use slimclr_core::{
    augment::{AugmentError, Augmenter, Normalisation, epoch_order},
    config::Config,
    data::{
        DataError,
        batch::{HostBatch, LabelledImages},
        cifar10, decode, folder,
        sampler::Sampler,
        sprite_sheet,
    },
    image::Image,
    kernel::views::DeviceImages,
    method::Batch,
    train::{Artifact, Host, Split},
};
use slimclr_protocol::{Images, Report, parcel};
use thiserror::Error;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use crate::browser::{breathe, milliseconds};

/// Images that evaluation looks at in each split: enough to see a trend, few enough not to hold up training.
const EVALUATED: [usize; 2] = [1000, 500];
/// Images that are evaluated before the page is heard again.
const CHUNK: usize = 20;
/// Bytes of a file that tell whether it is an image.
const HEADER: i32 = 1 << 18;

/// Why images cannot be used.
#[derive(Debug, Error)]
pub enum ImagesError {
    /// A file that is not what its name says.
    #[error("{path}: {error}")]
    File {
        /// Its path in what was dropped.
        path: String,
        /// What is wrong.
        error: DataError,
    },
    /// A file that the browser does not hand out.
    #[error("{0} cannot be read: drop it again")]
    Unreadable(String),
    /// An attachment that is none.
    #[error("the images did not arrive: reload the page")]
    Lost,
    /// Nothing to train on.
    #[error(
        "these are no training images: drop a folder with one sub-folder of JPEG, PNG or WebP images for each class, or \
         CIFAR-10's data_batch_1.bin and test_batch.bin"
    )]
    None,
    /// Nothing to evaluate with.
    #[error("there are no test images: add a folder 'val' beside 'train', or at least 10 images a class")]
    NoTest,
    /// Damaged one and all.
    #[error("none of the training images can be decoded: drop others")]
    Undecodable,
    /// An image of no size.
    #[error(transparent)]
    Augment(#[from] AugmentError),
}

/// Labelled images, some to train on and some to test with.
pub struct Dataset {
    /// What they are, in words.
    pub name: String,
    /// The classes' names.
    pub classes: Vec<String>,
    /// Mean and deviation of their channels.
    pub normalisation: Normalisation,
    /// Files that were left out.
    skipped: usize,
    train: Source,
    test: Source,
}

enum Source {
    /// Decoded, with their classes.
    Memory(Vec<(Image, u32)>),
    /// With the browser, decoded when they are wanted.
    Files(Vec<(Blob, u32)>),
}

impl Dataset {
    /// The images that are attached.
    ///
    /// # Errors
    /// If they are none that can be used.
    pub async fn open(images: &Images, attached: &[JsValue]) -> Result<Self, ImagesError> {
        match images {
            Images::Bundle => Self::bundle(attached),
            Images::Files { paths } => {
                let files = attached.iter().map(|file| file.clone().dyn_into::<Blob>().map_err(|_| ImagesError::Lost));
                let files: Vec<(String, Blob)> =
                    paths.iter().cloned().zip(files.collect::<Result<Vec<_>, _>>()?).collect();
                if files.iter().any(|(path, _)| is_batch(path)) {
                    Self::cifar10(files).await
                } else {
                    Self::folder(files).await
                }
            }
        }
    }

    fn bundle(attached: &[JsValue]) -> Result<Self, ImagesError> {
        let [train, test] = attached else { return Err(ImagesError::Lost) };
        let tiles = |sheet: &JsValue| {
            let bytes = parcel::bytes(sheet).ok_or(ImagesError::Lost)?;
            let error = |error| ImagesError::File { path: "the bundled images".into(), error };
            sprite_sheet::tiles(&bytes).map(Source::Memory).map_err(error)
        };
        Ok(Self::of_cifar10("a CIFAR-10 subset", tiles(train)?, tiles(test)?))
    }

    /// CIFAR-10's binary batches; every tenth image of a class is held out if there are none for testing.
    async fn cifar10(files: Vec<(String, Blob)>) -> Result<Self, ImagesError> {
        let [mut train, mut test] = [Vec::new(), Vec::new()];
        for (path, file) in files.iter().filter(|(path, _)| is_batch(path)) {
            let bytes = read(file).await.ok_or_else(|| ImagesError::Unreadable(path.clone()))?;
            let images = cifar10::records(&bytes).map_err(|error| ImagesError::File { path: path.clone(), error })?;
            if path.ends_with(cifar10::TEST_BATCH) { test.extend(images) } else { train.extend(images) }
        }
        if train.is_empty() {
            train = std::mem::take(&mut test);
        }
        if test.is_empty() {
            test = folder::hold_out(&mut train);
        }
        if test.is_empty() {
            return Err(ImagesError::NoTest);
        }
        Ok(Self::of_cifar10("CIFAR-10", Source::Memory(train), Source::Memory(test)))
    }

    fn of_cifar10(name: &str, train: Source, test: Source) -> Self {
        Self {
            name: name.into(),
            classes: cifar10::CLASSES.map(String::from).to_vec(),
            normalisation: Normalisation::CIFAR10,
            skipped: 0,
            train,
            test,
        }
    }

    /// A folder with a sub-folder for each class, perhaps below `train` and `val`.
    async fn folder(files: Vec<(String, Blob)>) -> Result<Self, ImagesError> {
        let mut images: Vec<(Vec<String>, Blob)> = files
            .into_iter()
            .filter(|(path, _)| folder::is_image(path) && !path.split('/').any(|part| part.starts_with('.')))
            .map(|(path, file)| (path.split('/').map(String::from).collect(), file))
            .collect();
        images.sort_by(|(a, _), (b, _)| a.cmp(b));
        without_common_root(&mut images);
        let below = |names: &[&str]| -> Vec<(String, Blob)> {
            let inside = images.iter().filter(|(path, _)| path.len() == 3 && names.contains(&path[0].as_str()));
            inside.map(|(path, file)| (path[1].clone(), file.clone())).collect()
        };
        let [mut train, mut test] = [below(&[folder::TRAIN_NAME]), below(&folder::TEST_NAMES)];
        if train.is_empty() {
            let inside = images.iter().filter(|(path, _)| path.len() == 2);
            (train, test) = (inside.map(|(path, file)| (path[0].clone(), file.clone())).collect(), Vec::new());
        }
        let mut classes: Vec<String> = train.iter().map(|(class, _)| class.clone()).collect();
        classes.dedup();
        let mut skipped = 0;
        let mut labelled = async |files: Vec<(String, Blob)>| {
            let mut usable = Vec::new();
            for (number, (class, file)) in files.into_iter().enumerate() {
                let label = classes.iter().position(|known| *known == class);
                match label.filter(|_| file.size() > 0.0) {
                    Some(label) if has_usable_header(&file).await => usable.push((file, label as u32)),
                    _ => skipped += 1,
                }
                if number.is_multiple_of(CHUNK) {
                    breathe().await;
                }
            }
            usable
        };
        let mut train = labelled(train).await;
        let mut test = labelled(test).await;
        if train.is_empty() {
            return Err(ImagesError::None);
        }
        if test.is_empty() {
            test = folder::hold_out(&mut train);
        }
        if test.is_empty() {
            return Err(ImagesError::NoTest);
        }
        Ok(Self {
            name: "the dropped folder".into(),
            classes,
            normalisation: Normalisation::IMAGENET,
            skipped,
            train: Source::Files(train),
            test: Source::Files(test),
        })
    }

    /// What the page is told of them.
    pub fn report(&self) -> Report {
        Report::Images {
            name: self.name.clone(),
            classes: self.classes.clone(),
            train: self.len(Split::Train),
            test: self.len(Split::Test),
            skipped: self.skipped,
        }
    }

    /// Images in a split.
    pub fn len(&self, split: Split) -> usize {
        match self.split(split) {
            Source::Memory(images) => images.len(),
            Source::Files(files) => files.len(),
        }
    }

    /// The class of the image at `index`.
    pub fn label(&self, split: Split, index: usize) -> u32 {
        match self.split(split) {
            Source::Memory(images) => images[index].1,
            Source::Files(files) => files[index].1,
        }
    }

    /// The image at `index`, unless its file is damaged.
    pub async fn image(&self, split: Split, index: usize) -> Option<Image> {
        match self.split(split) {
            Source::Memory(images) => Some(images[index].0.clone()),
            Source::Files(files) => decode(&files[index].0).await,
        }
    }

    /// The training images on `device`, if it is a GPU that has room for them.
    fn upload(&self, device: &Device) -> Option<DeviceImages> {
        match &self.train {
            Source::Memory(images) => DeviceImages::on_gpu(images.iter().map(|(image, _)| image), device),
            Source::Files(_) => None,
        }
    }

    /// The training image at `index`, or the next one that can be decoded, with its place.
    async fn decodable(&self, index: usize) -> Result<(usize, Image), ImagesError> {
        let images = self.len(Split::Train);
        for further in 0..images {
            let index = (index + further) % images;
            if let Some(image) = self.image(Split::Train, index).await {
                return Ok((index, image));
            }
        }
        Err(ImagesError::Undecodable)
    }

    /// The places of at most `count` images of a split, at random but always the same: an even stride would keep step with
    /// classes that take turns.
    pub fn some(&self, split: Split, count: usize) -> Vec<usize> {
        let mut places: Vec<usize> =
            epoch_order(0, 0, self.len(split)).into_iter().map(|place| place as usize).collect();
        places.truncate(count);
        places.sort_unstable();
        places
    }

    fn split(&self, split: Split) -> &Source {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }
}

/// Whether it is one of CIFAR-10's binary files.
fn is_batch(path: &str) -> bool {
    path.ends_with(".bin") && path.contains("batch")
}

/// Takes off the folder that was dropped, and those around the images.
fn without_common_root(images: &mut [(Vec<String>, Blob)]) {
    while let Some(((first, _), rest)) = images.split_first()
        && first.len() > 2
        && first[0] != folder::TRAIN_NAME
        && rest.iter().all(|(path, _)| path.len() > 2 && path[0] == first[0])
    {
        images.iter_mut().for_each(|(path, _)| drop(path.remove(0)));
    }
}

async fn read(file: &Blob) -> Option<Vec<u8>> {
    let buffer = JsFuture::from(file.array_buffer()).await.ok()?;
    Some(Uint8Array::new(&buffer).to_vec())
}

async fn decode(file: &Blob) -> Option<Image> {
    decode::decode(Cursor::new(read(file).await?)).ok()
}

async fn has_usable_header(file: &Blob) -> bool {
    let Ok(header) = file.slice_with_i32_and_i32(0, HEADER) else { return false };
    read(&header).await.is_some_and(|bytes| decode::has_usable_header(Cursor::new(bytes)))
}

/// What a run has kept; in memory, as a worker has nothing else.
#[derive(Debug, Default)]
pub struct Kept {
    /// The latest checkpoint.
    pub checkpoint: Option<Vec<u8>>,
    /// The encoder after so many steps.
    pub snapshots: BTreeMap<u64, Vec<u8>>,
    gradients: BTreeMap<u64, Vec<u8>>,
}

/// The [`Host`] of the training loop in a worker.
pub struct Hearth {
    dataset: Rc<Dataset>,
    sampler: Sampler,
    augmenter: Augmenter,
    /// The places of the training and of the test images that evaluation looks at.
    evaluated: [Vec<usize>; 2],
    /// The training images on the device of the run, if it is a GPU that has room for them; not known before the first
    /// batch.
    on_device: OnceCell<Option<DeviceImages>>,
    kept: Rc<RefCell<Kept>>,
}

impl Hearth {
    /// A home for the run that `config` describes, which keeps its files in `kept`.
    pub fn new(dataset: Rc<Dataset>, config: &Config, kept: Rc<RefCell<Kept>>) -> Self {
        let [bank, test] = EVALUATED;
        Self {
            sampler: Sampler::new(config, dataset.normalisation),
            augmenter: Augmenter::new(),
            evaluated: [dataset.some(Split::Train, bank), dataset.some(Split::Test, test)],
            dataset,
            on_device: OnceCell::new(),
            kept,
        }
    }
}

impl Host for Hearth {
    type Error = ImagesError;

    fn images(&self) -> usize {
        self.dataset.len(Split::Train)
    }

    fn normalisation(&self) -> Normalisation {
        self.dataset.normalisation
    }

    fn now(&self) -> f64 {
        milliseconds() / 1e3
    }

    async fn batch(&mut self, step: u64, device: &Device) -> Result<Batch, ImagesError> {
        breathe().await;
        if let Some(images) = self.on_device.get_or_init(|| self.dataset.upload(device)) {
            return Ok(Batch::on_device(&self.sampler, images, step, |index| self.dataset.label(Split::Train, index)));
        }
        let (epoch, batch) = self.sampler.batch(step, self.images());
        let mut pixels = self.sampler.buffers();
        let mut labels = Vec::with_capacity(batch.len());
        for (index, slots) in batch.into_iter().zip(self.sampler.slots(&mut pixels)) {
            let (decoded, image) = self.dataset.decodable(index as usize).await?;
            self.sampler.view(&mut self.augmenter, &image, (epoch, index), slots)?;
            labels.push(self.dataset.label(Split::Train, decoded));
        }
        Ok(Batch::from_host(HostBatch { pixels, labels }, self.sampler.size(), device))
    }

    async fn labelled(&mut self, split: Split, chunk: usize) -> Result<Option<LabelledImages>, ImagesError> {
        breathe().await;
        let Some(places) = self.evaluated[usize::from(split == Split::Test)].chunks(CHUNK).nth(chunk) else {
            return Ok(None);
        };
        let mut images = Vec::with_capacity(CHUNK);
        for index in places {
            if let Some(image) = self.dataset.image(split, *index).await {
                let pixels = self.sampler.centre(&mut self.augmenter, &image)?;
                images.push((*index, self.dataset.label(split, *index), pixels));
            }
        }
        Ok(Some(self.sampler.labelled(images)))
    }

    async fn save(&mut self, what: Artifact, file: Vec<u8>) -> Result<(), ImagesError> {
        let mut kept = self.kept.borrow_mut();
        match what {
            Artifact::Checkpoint => kept.checkpoint = Some(file),
            Artifact::Snapshot(step) => drop(kept.snapshots.insert(step, file)),
            Artifact::Gradients(step) => drop(kept.gradients.insert(step, file)),
        }
        Ok(())
    }

    async fn gradients(&mut self, step: u64) -> Result<Option<Vec<u8>>, ImagesError> {
        Ok(self.kept.borrow().gradients.get(&step).cloned())
    }
}
