//! Opens the data sets that options name.

use std::path::Path;

use anyhow::{Result, bail};
use slimclr_core::{
    config::Config,
    data::{folder::Purpose, names::shown},
};

use super::{cifar10, dataset::Dataset, embedded, folder, shards};

/// The value of the option `data` for the embedded images.
pub const EMBEDDED: &str = "embedded";

/// Opens the data set that the option `data` names, to train on: the embedded images, a folder of CIFAR-10's binary
/// batches, a folder of images, or shards.
///
/// # Errors
/// If there is no such folder, or it has too few usable images.
pub fn open(data: &str) -> Result<Dataset> {
    open_for(Purpose::Training, data)
}

/// Opens the data set that the option `data` names, as [`open`] does, for this purpose.
///
/// # Errors
/// If there is no such folder, or it has no usable images.
pub fn open_for(purpose: Purpose, data: &str) -> Result<Dataset> {
    if data == EMBEDDED {
        return Ok(embedded::dataset());
    }
    if let Some(shards) = shards::named_by(data)? {
        return shards::open(data, shards, purpose);
    }
    let path = Path::new(data);
    if path.is_file() {
        bail!(
            "data = '{}' is a file: name a folder of images; unpack it first if it is an archive",
            shown(data.as_bytes())
        );
    }
    if !path.is_dir() {
        let data = shown(data.as_bytes());
        bail!("data = '{data}': there is no such folder; use '{EMBEDDED}', a folder of images, or shards");
    }
    if cifar10::has_batches(path) { cifar10::read(path) } else { folder::scan(path, purpose) }
}

/// Opens the images that the options of a run name.
///
/// # Errors
/// As [`open`], and if the option `label_fraction` leaves a class without an image.
pub fn open_of_run(config: &Config) -> Result<Dataset> {
    let dataset = open(&config.data)?;
    if config.label_fraction == 1.0 { Ok(dataset) } else { dataset.with_fraction_of_labels(config.label_fraction) }
}

/// Opens CIFAR-10: a folder of its batches, or the embedded subset.
///
/// # Errors
/// If `data` is neither, or a batch is damaged.
pub fn open_cifar10(data: &str) -> Result<Dataset> {
    let folder = Path::new(data);
    if data != EMBEDDED && !cifar10::has_batches(folder) {
        bail!(
            "data = '{data}': this is not a folder of CIFAR-10 batches; download them into {} with \
             slimclr data cifar10, or name their folder with --data",
            cifar10::FOLDER
        );
    }
    open(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_cifar10_is_told_how_to_get_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = open_cifar10(folder.path().to_str().unwrap()).err().unwrap().to_string();
        assert!(error.contains("slimclr data cifar10"), "{error}");
    }
}
