//! Images in shards, read in any order.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use slimclr_core::data::shards::{Sample, ShardOrder};

/// Images of one split, in shards.
pub struct ShardImages {
    /// The shards.
    pub(super) shards: Vec<PathBuf>,
    /// Images and labels, in the order of the shards.
    pub(super) images: Vec<(ShardImage, u32)>,
}

/// An image: a sample of the shard with this index.
pub struct ShardImage {
    /// Index of the shard.
    pub shard: u32,
    /// The sample.
    pub sample: Sample,
}

/// Where an image is.
pub(super) struct Place<'a> {
    /// Index of the shard.
    pub shard: u32,
    /// The shard.
    pub path: &'a Path,
    /// Its first byte in the shard.
    pub offset: u64,
    /// Its bytes.
    pub size: usize,
}

impl ShardImages {
    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Returns the label of the image at `index`.
    pub fn label(&self, index: usize) -> u32 {
        self.images[index].1
    }

    /// Returns the path of the image at `index`, as if its shard were a folder.
    pub fn path(&self, index: usize) -> PathBuf {
        let ShardImage { shard, sample } = &self.images[index].0;
        self.shards[*shard as usize].join(&*sample.name)
    }

    /// Reads the image at `index`, without decoding it.
    ///
    /// # Errors
    /// If its shard cannot be read.
    pub fn read(&self, index: usize) -> io::Result<Vec<u8>> {
        let Place { path, offset, size, .. } = self.place(index);
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut image = vec![0; size];
        file.read_exact(&mut image)?;
        Ok(image)
    }

    pub(super) fn place(&self, index: usize) -> Place<'_> {
        let ShardImage { shard, sample } = &self.images[index].0;
        let path = &self.shards[*shard as usize];
        Place { shard: *shard, path, offset: sample.offset, size: sample.size as usize }
    }

    /// Returns the order in which epochs visit the images.
    pub fn order(&self) -> ShardOrder {
        let shards = self.images.chunk_by(|(a, _), (b, _)| a.shard == b.shard);
        ShardOrder::new(shards.map(|images| images.iter().map(|(image, _)| image.sample.size)))
    }

    /// Passes to `digest` what identifies the images wherever their shards are: names, labels and sizes. Names may be mere
    /// numbers, and the order of an epoch depends on the sizes.
    pub fn identify(&self, mut digest: impl FnMut(&[u8])) {
        for (ShardImage { shard, sample }, label) in &self.images {
            let shard = self.shards[*shard as usize].file_name().unwrap_or_default();
            digest(format!("{}/{}\0{label} {}\0", shard.to_string_lossy(), sample.name, sample.size).as_bytes());
        }
    }

    /// Returns the paths of the shards.
    pub fn shards(&self) -> &[PathBuf] {
        &self.shards
    }
}
