//! Images to train on: where they come from, and how they become batches.

pub mod cifar10;
pub mod embedded;
pub mod fetch;
pub mod folder;
pub mod loader;

use std::{borrow::Cow, fs, path::Path};

use anyhow::{Context, Result, bail};
use slimclr_core::{augment::Normalisation, image::Image, train::Split};

/// The value of the option `data` that names the images inside the program.
const EMBEDDED: &str = "embedded";

/// Labelled images, some to train on and some to test with.
pub struct Dataset {
    /// What they are, in words.
    pub name: String,
    /// The classes' names.
    pub classes: Vec<String>,
    /// Mean and deviation of their channels.
    pub normalisation: Normalisation,
    train: Images,
    test: Images,
}

/// Images of one split.
pub enum Images {
    /// Decoded, with their classes.
    Memory(Vec<(Image, u32)>),
    /// On disk, decoded when they are wanted.
    Files(Vec<(std::path::PathBuf, u32)>),
}

impl Images {
    fn len(&self) -> usize {
        match self {
            Self::Memory(images) => images.len(),
            Self::Files(files) => files.len(),
        }
    }
}

impl Dataset {
    /// Opens what the option `data` names: the embedded images, a folder of CIFAR-10's binary batches,
    /// or a folder of images.
    ///
    /// # Errors
    /// If there is no such folder, or it holds no usable images.
    pub fn open(data: &str) -> Result<Self> {
        if data == EMBEDDED {
            return Ok(embedded::dataset());
        }
        let path = Path::new(data);
        if !path.is_dir() {
            bail!("data = '{data}': there is no such folder; use '{EMBEDDED}' or a folder of images");
        }
        if cifar10::is_here(path) { cifar10::read(path) } else { folder::scan(path) }
    }

    /// Images in a split.
    pub fn len(&self, split: Split) -> usize {
        self.split(split).len()
    }

    /// The class of the image at `index`.
    pub fn label(&self, split: Split, index: usize) -> u32 {
        match self.split(split) {
            Images::Memory(images) => images[index].1,
            Images::Files(files) => files[index].1,
        }
    }

    /// The image at `index`, decoded.
    ///
    /// # Errors
    /// If its file cannot be decoded.
    pub fn image(&self, split: Split, index: usize) -> Result<Cow<'_, Image>> {
        match self.split(split) {
            Images::Memory(images) => Ok(Cow::Borrowed(&images[index].0)),
            Images::Files(files) => Ok(Cow::Owned(folder::decode(&files[index].0)?)),
        }
    }

    /// Hands on what tells these images from others, to be digested: of files their names, labels, sizes and times, as
    /// reading them all would take as long as computing with them.
    ///
    /// # Errors
    /// If a file is gone.
    pub fn fingerprint(&self, mut digest: impl FnMut(&[u8])) -> Result<()> {
        for split in [&self.train, &self.test] {
            digest(&(split.len() as u64).to_le_bytes());
            match split {
                Images::Memory(images) => images.iter().for_each(|(image, label)| {
                    digest(&label.to_le_bytes());
                    digest(&image.pixels);
                }),
                Images::Files(files) => {
                    for (path, label) in files {
                        let file = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
                        digest(format!("{path:?} {label} {} {:?}", file.len(), file.modified()?).as_bytes());
                    }
                }
            }
        }
        Ok(())
    }

    fn split(&self, split: Split) -> &Images {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }
}
