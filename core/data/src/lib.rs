//! Images from the bytes of files, random views of images, and the sampler of batches. Reading the files is left to the
//! program.
#![warn(missing_docs)]

pub mod augment;
pub mod bags;
pub mod batch;
pub mod cifar10;
mod dct_scaling;
pub mod decode;
pub mod folder;
pub mod image;
mod jpeg;
pub mod look;
pub mod names;
pub mod reduced;
pub mod sampler;
pub mod shards;
pub mod sprite_sheet;
pub mod subset;

use thiserror::Error;

/// Why bytes are not images.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file is not a whole number of records.
    #[error(
        "{0} bytes are not a whole number of {record}-byte images: the file is cut short; download it again",
        record = cifar10::RECORD
    )]
    CutShort(usize),
    /// The label is not one of CIFAR-10's.
    #[error("image {place} has label {label}, but there are only {classes} classes", classes = cifar10::CLASSES.len())]
    Label {
        /// The image's index in the file.
        place: usize,
        /// Its label.
        label: u32,
    },
    /// Not an intact image.
    #[error(transparent)]
    Undecodable(#[from] decode::DecodeError),
    /// Not readable.
    #[error(transparent)]
    Read(#[from] std::io::Error),
}
