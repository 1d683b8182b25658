//! A trained network that is run over any images.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use slimclr_core::{augment::Normalisation, config::Config, encoder::Encoder, parameter::Parameters};

use crate::{
    data::{Dataset, loader::Loader},
    device, pretrained,
};

/// A trained network on a device, and how its images are prepared.
pub struct Network {
    /// The architecture.
    pub encoder: Encoder,
    /// The weights.
    pub parameters: Parameters,
    /// Where they are.
    pub device: Device,
    config: Config,
    normalisation: Normalisation,
}

impl Network {
    /// Opens the network in `path`, as [`pretrained::open`] does, on the device of this name, or else on its run's.
    ///
    /// # Errors
    /// If it cannot be read, does not record how its images were normalised, or there is no such device.
    pub fn open(path: &Path, device: Option<&str>) -> Result<Self> {
        let trained = pretrained::open(path)?;
        let normalisation = pretrained::normalisation(path, &trained)?;
        let config = trained.options();
        let (device, _) = device::open(device.unwrap_or(&config.device))?;
        let (encoder, parameters) = trained.load(&device)?;
        Ok(Self { encoder, parameters, device, config, normalisation })
    }

    /// Returns a loader of images that prepares them for this network.
    ///
    /// # Errors
    /// If threads cannot be started.
    pub fn loader(&self, dataset: Dataset) -> Result<Loader> {
        Loader::for_features(dataset.normalised_by(self.normalisation), &self.config)
    }
}
