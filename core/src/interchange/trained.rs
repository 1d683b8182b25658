//! A trained network from a file: one of our checkpoints or snapshots, or a checkpoint of the authors' PyTorch code.

use std::{error::Error, fmt};

use burn::tensor::{Device, TensorData};
use thiserror::Error;

use super::{
    authors::{self, InferError, Inferred},
    pytorch::{self, PytorchError},
};
use crate::{
    augment::Normalisation,
    checkpoint::{Checkpoint, CheckpointError},
    config::{Config, ConfigError},
    encoder::{BackboneKind, Encoder, EncoderConfig},
    parameter::{Parameters, Shapes},
};

/// How the names of our own files end; all others are taken for PyTorch's.
pub const EXTENSION: &str = "safetensors";

/// A trained encoder, whose parameters are read on demand.
#[derive(Debug)]
pub struct Trained {
    /// What the encoder is built from.
    pub config: EncoderConfig,
    /// The run that trained it, if it was one of ours.
    pub run: Option<Training>,
    /// Of the file, for errors.
    name: String,
    tensors: Tensors,
}

/// How far a run has come.
#[derive(Debug)]
pub struct Training {
    /// Its options.
    pub config: Config,
    /// The steps taken.
    pub step: u64,
    /// What its images' channels were normalised by, if the checkpoint says.
    pub normalisation: Option<Normalisation>,
}

enum Tensors {
    /// A file of ours, whole.
    Ours(Vec<u8>),
    Authors(Box<dyn StateDict>, Box<Inferred>),
}

/// Any error of a reader of state dicts.
pub type ReadError = Box<dyn Error + Send + Sync>;

/// A state dict's tensors, whatever file they are in.
pub trait StateDict {
    /// Names and shapes.
    fn shapes(&self) -> Shapes;

    /// The values of the tensor `name`, as 32-bit floating point.
    ///
    /// # Errors
    /// If there is none, it is of integers, or its values are not all there.
    fn read(&self, name: &str) -> Result<TensorData, ReadError>;
}

impl StateDict for pytorch::StateDict {
    fn shapes(&self) -> Shapes {
        self.shapes()
    }

    fn read(&self, name: &str) -> Result<TensorData, ReadError> {
        Ok(self.read(name)?)
    }
}

/// Why a file holds no trained network.
#[derive(Debug, Error)]
#[error("{name} cannot be used: {cause}")]
pub struct TrainedError {
    /// The file's name.
    pub name: String,
    /// What is wrong with it.
    pub cause: Cause,
}

/// What is wrong with a file of a trained network.
#[derive(Debug, Error)]
pub enum Cause {
    /// No checkpoint or snapshot of ours, or not whole.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No file of PyTorch, or not whole.
    #[error(transparent)]
    Pytorch(#[from] PytorchError),
    /// A state dict of no network known.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A state dict's tensor.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Trained {
    /// Reads a file of this name: one of our checkpoints or snapshots (`.safetensors`), or a checkpoint of the authors'
    /// code as PyTorch writes it since 1.6.
    ///
    /// # Errors
    /// If it is none of these, or not whole.
    pub fn read(name: &str, bytes: Vec<u8>) -> Result<Self, TrainedError> {
        if name.rsplit_once('.').is_some_and(|(_, extension)| extension == EXTENSION) {
            return Self::ours(name, bytes).map_err(|cause| blame(name, cause));
        }
        let state_dict = pytorch::StateDict::open(bytes).map_err(|error| blame(name, error))?;
        Self::from_state_dict(name, state_dict)
    }

    /// The authors' network in a state dict that was read from a file of this name.
    ///
    /// # Errors
    /// If its tensors are not those of a slimmable network.
    pub fn from_state_dict(name: &str, state_dict: impl StateDict + 'static) -> Result<Self, TrainedError> {
        let inferred = authors::infer(&state_dict.shapes()).map_err(|error| blame(name, error))?;
        Ok(Self {
            config: inferred.config.clone(),
            run: None,
            name: name.into(),
            tensors: Tensors::Authors(Box::new(state_dict), Box::new(inferred)),
        })
    }

    fn ours(name: &str, bytes: Vec<u8>) -> Result<Self, Cause> {
        let file = Checkpoint::read_encoder(&bytes)?;
        let run = Training { config: file.config().clone(), step: file.step(), normalisation: file.normalisation() };
        let config = run.config.encoder().map_err(|error| CheckpointError::from(ConfigError::from(error)))?;
        Ok(Self { config, run: Some(run), name: name.into(), tensors: Tensors::Ours(bytes) })
    }

    /// The options it was trained with, or those of its backbone's recipe where the file does not tell.
    pub fn options(&self) -> Config {
        match (&self.run, self.config.backbone) {
            (Some(run), _) => run.config.clone(),
            (None, BackboneKind::Cifar) => Config::cifar10(),
            (None, BackboneKind::Resnet | BackboneKind::EfficientnetB0) => Config::imagenet_mocov2(),
        }
    }

    /// The file, if it is one of ours.
    pub fn checkpoint(&self) -> Option<&[u8]> {
        match &self.tensors {
            Tensors::Ours(bytes) => Some(bytes),
            Tensors::Authors(..) => None,
        }
    }

    /// The encoder and its parameters.
    ///
    /// # Errors
    /// If the file is not whole, or has tensors of integers.
    pub fn load(&self, device: &Device) -> Result<(Encoder, Parameters), TrainedError> {
        self.parameters(device).map_err(|cause| blame(&self.name, cause))
    }

    fn parameters(&self, device: &Device) -> Result<(Encoder, Parameters), Cause> {
        match &self.tensors {
            Tensors::Ours(bytes) => {
                let file = Checkpoint::read_encoder(bytes)?;
                let encoder = file.encoder()?;
                let parameters = file.query(&encoder, device)?;
                Ok((encoder, parameters))
            }
            Tensors::Authors(state_dict, inferred) => {
                Ok((inferred.encoder.clone(), inferred.parameters(device, |name| state_dict.read(name))?))
            }
        }
    }
}

impl fmt::Debug for Tensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours(_) => "ours",
            Self::Authors(..) => "the authors'",
        })
    }
}

/// Names the file in an error that came of it.
fn blame(name: &str, cause: impl Into<Cause>) -> TrainedError {
    TrainedError { name: name.into(), cause: cause.into() }
}
