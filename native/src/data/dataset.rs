//! Data sets: training and test images, in memory, in files or in shards.

use std::{
    borrow::Cow,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use indicatif::HumanCount;
use sha2::{Digest, Sha256};
use slimclr_core::{
    augment::Normalisation,
    data::{decode, names::shown, reduced::ReducedImage, subset::fraction_of_each_class},
    dataset::{DatasetSummary, SplitSummary},
    image::Image,
    train::Split,
};

use super::{
    image_file::{self, ImageFile, shown_path},
    listing::Stamp,
    shards::images::ShardImages,
};
use crate::terminal::note;

/// Training and test images, with labels if there are classes.
pub struct Dataset {
    /// Name of the data set.
    pub name: String,
    /// The folder that holds the images; none if they are in memory.
    root: Option<PathBuf>,
    summary: DatasetSummary,
    train: Images,
    test: Images,
}

/// Images of one split.
pub enum Images {
    /// Decoded images and labels.
    Memory(Vec<(Image, u32)>),
    /// Files, decoded on demand.
    Files(Vec<ImageFile>),
    /// Samples of tar files, decoded on demand.
    Shards(Arc<ShardImages>),
}

/// An image as its source holds it.
pub enum Stored<'a> {
    /// Pixels.
    Decoded(&'a Image),
    /// The bytes of an image file.
    Encoded(Vec<u8>),
}

impl<'a> Stored<'a> {
    /// Decodes the image.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn decode(self) -> Result<Cow<'a, Image>> {
        match self {
            Self::Decoded(image) => Ok(Cow::Borrowed(image)),
            Self::Encoded(file) => Ok(Cow::Owned(decode::decode(&file)?)),
        }
    }

    /// Decodes the image for views of it. A JPEG file is decoded at the fraction of its size that `reduction` returns for
    /// its width and height.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn decode_reduced(self, reduction: impl FnOnce([usize; 2]) -> usize) -> Result<ReducedImage<'a>> {
        match self {
            Self::Decoded(image) => Ok(image.into()),
            Self::Encoded(file) => Ok(decode::decode_reduced(&file, reduction)?),
        }
    }
}

impl Images {
    fn len(&self) -> usize {
        match self {
            Self::Memory(images) => images.len(),
            Self::Files(files) => files.len(),
            Self::Shards(images) => images.len(),
        }
    }

    /// Summarises the images. `root` is the folder that names of files are relative to.
    fn summary(&self, root: &Path) -> SplitSummary {
        let mut digest = Sha256::new();
        let mut add_name = |name: &Path, label: u32| {
            // The same on every system, whatever separates its folders.
            for part in name.components() {
                digest.update(part.as_os_str().as_encoded_bytes());
                digest.update("/");
            }
            digest.update([0]);
            digest.update(label.to_le_bytes());
        };
        match self {
            Self::Memory(images) => {
                for (image, label) in images {
                    digest.update(label.to_le_bytes());
                    digest.update(&image.pixels);
                }
            }
            Self::Files(files) => {
                for ImageFile { path, label, .. } in files {
                    add_name(path.strip_prefix(root).unwrap_or(path), *label);
                }
            }
            Self::Shards(images) => images.identify(|part| digest.update(part)),
        }
        SplitSummary { images: self.len(), digest: Some(HEXLOWER.encode(&digest.finalize())) }
    }
}

impl Dataset {
    /// Creates the data set of the images below `root`.
    pub fn new(
        name: String,
        root: &Path,
        (classes, normalisation): (Vec<String>, Normalisation),
        [train, test]: [Images; 2],
    ) -> Self {
        let summary = DatasetSummary { normalisation, classes, train: train.summary(root), test: test.summary(root) };
        let in_memory = matches!(train, Images::Memory(_));
        Self { name, root: (!in_memory).then(|| root.to_path_buf()), summary, train, test }
    }

    /// Keeps `fraction` of the training images of each class, the first of it in a fixed order.
    ///
    /// # Errors
    /// If it leaves a class without an image, or the images are in shards.
    pub fn with_fraction_of_labels(mut self, fraction: f64) -> Result<Self> {
        let all = self.len(Split::Train);
        let labels = (0..all).map(|index| self.label(Split::Train, index));
        let kept = fraction_of_each_class(labels, &self.summary.classes, fraction)?;
        let kept: HashSet<usize> = kept.into_iter().collect();
        let mut index = 0..;
        let mut is_kept = || index.next().is_some_and(|index| kept.contains(&index));
        match &mut self.train {
            Images::Memory(images) => images.retain(|_| is_kept()),
            Images::Files(files) => files.retain(|_| is_kept()),
            Images::Shards(_) => bail!(
                "a fraction of {fraction} needs random access to images, but shards are read from front to back: \
                 unpack the shards of '{}' into a folder, and name it by --data",
                shown(self.name.as_bytes())
            ),
        }
        self.summary.train = self.train.summary(self.root().unwrap_or(Path::new("")));
        note(&format!(
            "{} of {} training images are used, the same fraction of each class",
            HumanCount(kept.len() as u64),
            HumanCount(all as u64)
        ));
        Ok(self)
    }

    /// Opens these image files, in this order, as unlabelled training images.
    ///
    /// # Errors
    /// If one is missing, or is not an image.
    pub fn of_files(paths: &[PathBuf]) -> Result<Self> {
        let image = |path: &PathBuf| {
            let decoded = image_file::read(path).and_then(|file| Ok(decode::decode(&file)?));
            decoded.with_context(|| format!("cannot use {}", shown_path(path)))?;
            let stamp = Stamp::from(&fs::metadata(path)?);
            anyhow::Ok(ImageFile { path: path.clone(), label: 0, stamp })
        };
        let files = paths.iter().map(image).collect::<Result<_>>()?;
        let nothing = (Vec::new(), Normalisation::IMAGENET);
        Ok(Self::new("the queries".into(), Path::new(""), nothing, [Images::Files(files), Images::Files(Vec::new())]))
    }

    /// Sets the normalisation of the images to that of a network that they are for.
    pub fn normalised_by(self, normalisation: Normalisation) -> Self {
        Self { summary: DatasetSummary { normalisation, ..self.summary }, ..self }
    }

    /// Checks that training images can be read in any order, as members of bags are.
    ///
    /// # Errors
    /// If they are in shards.
    pub fn check_random_access(&self) -> Result<()> {
        if let Images::Shards(_) = self.train {
            bail!(
                "method = bingo needs random access to images, but shards are read from front to back: unpack the \
                 shards of '{}' into a folder, and name it by --data",
                shown(self.name.as_bytes())
            );
        }
        Ok(())
    }

    /// Returns what identifies the images.
    pub fn summary(&self) -> &DatasetSummary {
        &self.summary
    }

    /// Returns the number of images in a split.
    pub fn len(&self, split: Split) -> usize {
        self.split(split).len()
    }

    /// Returns the label of the image at `index`.
    pub fn label(&self, split: Split, index: usize) -> u32 {
        match self.split(split) {
            Images::Memory(images) => images[index].1,
            Images::Files(files) => files[index].label,
            Images::Shards(images) => images.label(index),
        }
    }

    /// Returns the decoded image at `index`.
    ///
    /// # Errors
    /// If its file cannot be decoded.
    pub fn image(&self, split: Split, index: usize) -> Result<Cow<'_, Image>> {
        let image = self.stored(split, index).and_then(Stored::decode);
        image.with_context(|| format!("cannot decode {}", self.image_name(split, index)))
    }

    /// Returns the path of the image at `index`; `None` for one in memory.
    pub fn path(&self, split: Split, index: usize) -> Option<PathBuf> {
        match self.split(split) {
            Images::Memory(_) => None,
            Images::Files(files) => Some(files[index].path.clone()),
            Images::Shards(images) => Some(images.path(index)),
        }
    }

    /// Returns the path of the image at `index` below the data set's folder; empty for one in memory.
    pub fn relative_path(&self, split: Split, index: usize) -> PathBuf {
        let path = self.path(split, index).unwrap_or_default();
        let root = self.root.as_deref().unwrap_or(Path::new(""));
        path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path)
    }

    /// Names the image at `index` by its path below the data set's folder.
    pub fn image_name(&self, split: Split, index: usize) -> String {
        shown_path(&self.relative_path(split, index))
    }

    /// Returns the folder that holds the images; `None` if they are in memory.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Reads the image at `index`, without decoding it.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn stored(&self, split: Split, index: usize) -> Result<Stored<'_>> {
        let file = match self.split(split) {
            Images::Memory(images) => return Ok(Stored::Decoded(&images[index].0)),
            Images::Files(files) => image_file::read(&files[index].path)?,
            Images::Shards(images) => images.read(index)?,
        };
        Ok(Stored::Encoded(file))
    }

    /// Passes to `digest` what identifies these images. Of files, that is path, label, size and modification time,
    /// because reading them all would take too long.
    ///
    /// # Errors
    /// If a file is missing.
    pub fn fingerprint(&self, mut digest: impl FnMut(&[u8])) -> Result<()> {
        for split in [&self.train, &self.test] {
            digest(&(split.len() as u64).to_le_bytes());
            match split {
                Images::Memory(images) => images.iter().for_each(|(image, label)| {
                    digest(&label.to_le_bytes());
                    digest(&image.pixels);
                }),
                Images::Files(files) => {
                    for ImageFile { path, label, stamp } in files {
                        digest(format!("{path:?} {label} {} {:?}", stamp.size, stamp.modified).as_bytes());
                    }
                }
                Images::Shards(images) => {
                    for path in images.shards() {
                        let file = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
                        digest(format!("{path:?} {} {:?}", file.len(), file.modified()?).as_bytes());
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the images of a split.
    pub fn split(&self, split: Split) -> &Images {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }
}
