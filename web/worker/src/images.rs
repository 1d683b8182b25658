//! The labelled images that the page sends.

use std::cell::RefCell;

use burn::tensor::Device;
use js_sys::Uint8Array;
use slimclr_core::{
    augment::{AugmentError, Normalisation},
    data::{
        DataError, cifar10,
        decode::{self, DecodeError},
        folder::{self, ContentsError, File},
        look::{self, FIRST, LONGER, LONGEST_LIST, Look},
        names::shown,
        reduced::ReducedImage,
        sampler::sample,
        sprite_sheet,
    },
    dataset::DatasetSummary,
    image::Image,
    kernel::views::DeviceImages,
    train::{DamagedImages, Split, TooManyDamagedError},
};
use slimclr_protocol::{Images, Report, wire};
use thiserror::Error;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

use crate::browser::{report, sentence, yield_to_browser};

/// Files checked before the worker yields to the browser.
const CHUNK: usize = 20;

/// Why images cannot be used.
#[derive(Debug, Error)]
pub enum ImagesError {
    /// A file's contents do not match its name.
    #[error("{path}: {error}")]
    File {
        /// Its path below the dropped folder.
        path: String,
        /// Why it cannot be read.
        error: DataError,
    },
    /// The browser refuses to read the file.
    #[error("{0} cannot be read: drop it again")]
    Unreadable(String),
    /// An attachment is missing.
    #[error("the images did not arrive: reload the page")]
    Lost,
    /// There is nothing to train on.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// There is nothing to evaluate on.
    #[error("there are no test images: add a folder 'val' beside 'train', or at least 10 images per class")]
    NoTest,
    /// Too many images are damaged.
    #[error(transparent)]
    Damaged(#[from] TooManyDamagedError),
    /// Every image is damaged.
    #[error("none of the training images can be decoded: drop others")]
    Undecodable,
    /// An image cannot be resized.
    #[error(transparent)]
    Augment(#[from] AugmentError),
}

/// Labelled images in a training and a test split.
pub struct Dataset {
    /// Their name, for the user.
    pub name: String,
    /// What identifies the images; without digests.
    pub summary: DatasetSummary,
    /// What of the user's files is used and what is not.
    note: Option<String>,
    train: Source,
    test: Source,
    /// Those that have turned out to be damaged.
    damaged: RefCell<DamagedImages>,
}

enum Source {
    /// Decoded images and their classes.
    Memory(Vec<(Image, u32)>),
    /// Files, decoded on demand.
    Files(Vec<ImageFile>),
}

/// An image file of the user's.
struct ImageFile {
    /// Its path below the dropped folder.
    path: String,
    file: Blob,
    label: u32,
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Self::Memory(images) => images.len(),
            Self::Files(files) => files.len(),
        }
    }
}

impl Dataset {
    /// Reads the attached images.
    ///
    /// # Errors
    /// If they cannot be read, or a split is empty.
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
            let bytes = wire::bytes(sheet).ok_or(ImagesError::Lost)?;
            let error = |error| ImagesError::File { path: "the bundled images".into(), error };
            sprite_sheet::tiles(&bytes).map(Source::Memory).map_err(error)
        };
        Ok(Self::of_cifar10("a CIFAR-10 subset", [tiles(train)?, tiles(test)?]))
    }

    /// Reads CIFAR-10's binary batches. Without a test batch, holds out every tenth image of a class.
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
        Ok(Self::of_cifar10("CIFAR-10", [train, test].map(Source::Memory)))
    }

    fn new(
        name: &str,
        (classes, normalisation): (Vec<String>, Normalisation),
        [train, test]: [Source; 2],
        note: Option<String>,
    ) -> Self {
        let summary = DatasetSummary::without_digests(normalisation, classes, [train.len(), test.len()]);
        let damaged = RefCell::new(DamagedImages::new(train.len() + test.len()));
        Self { name: name.into(), summary, note, train, test, damaged }
    }

    fn of_cifar10(name: &str, images: [Source; 2]) -> Self {
        Self::new(name, (cifar10::CLASSES.map(String::from).to_vec(), Normalisation::CIFAR10), images, None)
    }

    /// Finds the images in a folder.
    async fn folder(files: Vec<(String, Blob)>) -> Result<Self, ImagesError> {
        let (mut listed, mut blobs) = (Vec::new(), Vec::new());
        for (number, (path, blob)) in files.into_iter().enumerate() {
            if !path.split('/').any(|name| folder::is_ignored(name.as_bytes())) {
                let look = look_at(&path, &blob).await.unwrap_or(Look::Unopened);
                listed.push(File { path: path.into_bytes(), size: blob.size() as u64, look });
                blobs.push(blob);
            }
            if number.is_multiple_of(CHUNK) {
                yield_to_browser().await;
            }
        }
        let found = folder::contents(&listed)?;
        let note = Some(found.to_string());
        let image = |(file, label): (usize, u32)| ImageFile {
            path: shown(&listed[file].path),
            file: blobs[file].clone(),
            label,
        };
        let images = [found.train, found.test].map(|images| Source::Files(images.into_iter().map(image).collect()));
        Ok(Self::new("the dropped folder", (found.classes, Normalisation::IMAGENET), images, note))
    }

    /// Describes the images to the page.
    pub fn report(&self) -> Report {
        Report::Images {
            name: self.name.clone(),
            classes: self.summary.classes.clone(),
            train: self.len(Split::Train),
            test: self.len(Split::Test),
            note: self.note.clone(),
        }
    }

    /// Returns the number of images in a split.
    pub fn len(&self, split: Split) -> usize {
        self.split(split).len()
    }

    /// Returns the class of the image at `index`.
    pub fn label(&self, split: Split, index: usize) -> u32 {
        match self.split(split) {
            Source::Memory(images) => images[index].1,
            Source::Files(files) => files[index].label,
        }
    }

    /// Returns the image at `index`, or `None` if its file is damaged. The page is told of each damaged one.
    pub async fn image(&self, split: Split, index: usize) -> Option<Image> {
        match self.split(split) {
            Source::Memory(images) => Some(images[index].0.clone()),
            Source::Files(files) => self.unless_damaged((split, index), &files[index], decode::decode).await,
        }
    }

    /// Checks that not too many images have turned out to be damaged.
    ///
    /// # Errors
    /// If more than one in ten has.
    pub fn check_damage(&self) -> Result<(), TooManyDamagedError> {
        self.damaged.borrow().check()
    }

    /// Reads and decodes a file. Remembers it, and tells the page, if it is damaged.
    async fn unless_damaged<T>(
        &self,
        (split, index): (Split, usize),
        ImageFile { path, file, .. }: &ImageFile,
        decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Option<T> {
        if self.damaged.borrow().contains(split, index) {
            return None;
        }
        let decoded = match read(file).await {
            Some(bytes) => decode(&bytes).map_err(|error| error.to_string()),
            None => Err("the browser cannot read it".to_owned()),
        };
        let why = match decoded {
            Ok(image) => return Some(image),
            Err(why) => why,
        };
        let mut damaged = self.damaged.borrow_mut();
        let is_new = damaged.add((split, index), path, &why);
        if let Some(summary) = damaged.summary().filter(|_| is_new) {
            report(&Report::Damaged(sentence(&summary)));
        }
        None
    }

    /// Copies the training images to `device`, if it is a GPU with enough memory.
    pub fn upload(&self, device: &Device) -> Option<DeviceImages> {
        match &self.train {
            Source::Memory(images) => DeviceImages::on_gpu(images.iter().map(|(image, _)| image), device),
            Source::Files(_) => None,
        }
    }

    /// Returns the training image at `index` with its index, or the next one that can be decoded. A JPEG file is decoded
    /// at the fraction of its size that `reduction` returns for its width and height.
    ///
    /// # Errors
    /// If none can be decoded, or too many are damaged.
    pub async fn decodable(
        &self,
        index: usize,
        reduction: impl Fn([usize; 2]) -> usize,
    ) -> Result<(usize, ReducedImage<'_>), ImagesError> {
        let images = self.len(Split::Train);
        for offset in 0..images {
            let index = (index + offset) % images;
            let image = match &self.train {
                Source::Memory(images) => Some((&images[index].0).into()),
                Source::Files(files) => {
                    let decode = |bytes: &[u8]| decode::decode_reduced(bytes, &reduction);
                    self.unless_damaged((Split::Train, index), &files[index], decode).await
                }
            };
            if let Some(image) = image {
                return Ok((index, image));
            }
            self.check_damage()?;
        }
        Err(ImagesError::Undecodable)
    }

    /// Returns the indices of a [`sample`] of at most `count` images of a split.
    pub fn sample(&self, split: Split, count: usize) -> Vec<usize> {
        sample(self.len(split), count)
    }

    fn split(&self, split: Split) -> &Source {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }
}

/// Returns whether a path names one of CIFAR-10's binary batches.
fn is_batch(path: &str) -> bool {
    path.ends_with(".bin") && path.contains("batch")
}

async fn read(file: &Blob) -> Option<Vec<u8>> {
    let buffer = JsFuture::from(file.array_buffer()).await.ok()?;
    Some(Uint8Array::new(&buffer).to_vec())
}

/// Reads the first bytes of a file; `None` if the browser refuses.
async fn look_at(path: &str, file: &Blob) -> Option<Look> {
    let path = path.as_bytes();
    if look::is_label_list(path) && file.size() <= LONGEST_LIST as f64 {
        return Some(Look::Labels(String::from_utf8_lossy(&read(file).await?).into_owned()));
    }
    for length in [FIRST, LONGER] {
        let first = read(&file.slice_with_i32_and_i32(0, length as i32).ok()?).await?;
        if let Some(look) = look::look(path, &first, first.len() as f64 >= file.size()) {
            return Some(look);
        }
    }
    Some(Look::Image)
}
