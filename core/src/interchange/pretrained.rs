//! A trained network from a file: one of our checkpoints or snapshots, or a checkpoint of the authors' PyTorch code.

use std::{error::Error, fmt};

use burn::tensor::{Device, TensorData};
use thiserror::Error;

use super::{
    infer_architecture::{self, InferError, Inferred},
    pytorch::{self, PytorchError},
};
use crate::{
    augment::Normalisation,
    checkpoint::{Checkpoint, CheckpointError},
    config::{Config, ConfigError},
    encoder::{BackboneKind, Encoder, EncoderConfig},
    layout::Shapes,
    parameter::Parameters,
};

/// How the names of our own files end; all others are taken for PyTorch's.
pub const EXTENSION: &str = "safetensors";

/// A trained encoder, whose parameters are read on demand.
#[derive(Debug)]
pub struct Pretrained {
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
pub struct PretrainedError {
    /// The file's name.
    pub name: String,
    /// What is wrong with it.
    pub cause: Box<Cause>,
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

impl Pretrained {
    /// Reads a file of this name: one of our checkpoints or snapshots (`.safetensors`), or a checkpoint of the authors'
    /// code as PyTorch writes it since 1.6.
    ///
    /// # Errors
    /// If it is none of these, or not whole.
    pub fn read(name: &str, bytes: Vec<u8>) -> Result<Self, PretrainedError> {
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
    pub fn from_state_dict(name: &str, state_dict: impl StateDict + 'static) -> Result<Self, PretrainedError> {
        let inferred = infer_architecture::infer(&state_dict.shapes()).map_err(|error| blame(name, error))?;
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
    pub fn load(&self, device: &Device) -> Result<(Encoder, Parameters), PretrainedError> {
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
fn blame(name: &str, cause: impl Into<Cause>) -> PretrainedError {
    PretrainedError { name: name.into(), cause: Box::new(cause.into()) }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::{
        checkpoint::{self, Snapshot},
        interchange::pytorch::fixture::{Value, archive, older_file},
        method::Trainer,
    };

    /// A run's state after 7 steps, and its options.
    fn trained() -> (Trainer, Config) {
        let options = Config { image_size: 16, ..Config::mini() };
        let mut state = Trainer::new(&options, options.encoder().unwrap().build().unwrap(), &Device::flex());
        state.steps = 7;
        (state, options)
    }

    /// What the authors' code saves of the same network.
    fn state_dict(state: &Trainer) -> Value {
        let tensors = state.query.named().map(|(spec, value)| {
            let values = value.clone().into_data().iter::<f32>().collect();
            let data = TensorData::new(values, spec.named_shape());
            (format!("module.encoder_q.{}", spec.name), Value::Tensor(data))
        });
        Value::dict([("epoch", Value::Pickled(b"K\x07".to_vec())), ("state_dict", Value::Dict(tensors.collect()))])
    }

    #[test]
    fn checkpoint_snapshot_and_state_dict_are_the_same_network() {
        let (state, options) = trained();
        let checkpoint = block_on(checkpoint::save(&state, &options, Normalisation::CIFAR10)).unwrap();
        let snapshot = block_on(Snapshot::save(&state, &options)).unwrap();
        let files = [
            ("checkpoint.safetensors", checkpoint, Some(Some(Normalisation::CIFAR10))),
            ("network.safetensors", snapshot, Some(None)),
            ("checkpoint_0199.pth.tar", archive(&state_dict(&state)), None),
        ];
        let values = |parameters: &Parameters| -> Vec<(String, TensorData)> {
            parameters.named().map(|(spec, value)| (spec.name.clone(), value.clone().into_data())).collect()
        };
        for (name, bytes, normalisation) in files {
            let trained = Pretrained::read(name, bytes).unwrap();
            assert_eq!(trained.run.as_ref().map(|run| run.normalisation), normalisation, "{name}");
            assert!(trained.run.as_ref().is_none_or(|run| run.step == 7 && run.config == options), "{name}");
            let (encoder, parameters) = trained.load(&Device::flex()).unwrap();
            assert_eq!(encoder.layout().widths(), state.encoder.layout().widths(), "{name}");
            assert_eq!(values(&parameters), values(&state.query), "{name}");
        }
    }

    #[test]
    fn what_is_no_trained_network_is_refused_by_name() {
        let (state, options) = trained();
        let other = Config { dim: 2 * options.dim, ..options };
        let misfit = block_on(Snapshot::save(&state, &other)).unwrap();
        let nothing = archive(&Value::dict([("state_dict", Value::dict([]))]));
        for (name, bytes, why) in [
            (
                "w.safetensors",
                b"no tensors".to_vec(),
                "w.safetensors cannot be used: this is no intact safetensors file",
            ),
            ("w.safetensors", misfit, "w.safetensors cannot be used: the tensors do not fit the network"),
            ("cat.jpg", b"\xff\xd8\xff".to_vec(), "cat.jpg cannot be used: it is no whole PyTorch file"),
            ("w.pth", older_file(&state_dict(&state)), "w.pth cannot be used: it has the format of PyTorch before 1.6"),
            ("w.pth", nothing, "w.pth cannot be used: no network of the authors' code is in it"),
        ] {
            let error = Pretrained::read(name, bytes).unwrap_err().to_string();
            assert!(error.starts_with(why), "{error}");
        }
    }
}
