//! Trained networks in files: checkpoints and snapshots of this program, and checkpoints of the authors' PyTorch code.

use burn::tensor::Device;
use thiserror::Error;

use super::{
    infer_architecture::{self, InferError, Inferred},
    pytorch::{PytorchError, StateDict},
};
use crate::{
    augment::Normalisation,
    checkpoint::{Checkpoint, CheckpointError},
    config::{Config, ConfigError},
    dataset::DatasetSummary,
    encoder::{BackboneKind, Encoder, EncoderConfig},
    parameter::Parameters,
};

/// Extension of this program's files. All others are read as PyTorch's.
const EXTENSION: &str = "safetensors";

/// A trained encoder. Its parameters are read on demand.
#[derive(Debug)]
pub struct Pretrained {
    /// The encoder's architecture.
    pub config: EncoderConfig,
    /// The run that trained it, if it was a run of this program.
    pub run: Option<Training>,
    /// The file's name, for errors.
    name: String,
    tensors: Tensors,
}

/// The progress of a run.
#[derive(Debug)]
pub struct Training {
    /// Its options.
    pub config: Config,
    /// The steps taken.
    pub step: u64,
    /// Its images' normalisation, if the checkpoint has one.
    pub normalisation: Option<Normalisation>,
    /// What identifies its images, if the checkpoint has it.
    pub dataset: Option<DatasetSummary>,
}

#[derive(Debug)]
enum Tensors {
    /// The bytes of a file of this program.
    Slimclr(Vec<u8>),
    Authors(Box<StateDict>, Box<Inferred>),
}

/// Why a file cannot be used as a trained network.
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
    /// A damaged checkpoint or snapshot of this program, or one that does not fit its options.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A PyTorch file that cannot be read.
    #[error(transparent)]
    Pytorch(#[from] PytorchError),
    /// A state dict of another network.
    #[error(transparent)]
    Infer(#[from] InferError),
}

impl Pretrained {
    /// Reads the bytes of a file of this name: a checkpoint or snapshot of this program (`.safetensors`), or a
    /// checkpoint of the authors' code as PyTorch writes it.
    ///
    /// # Errors
    /// If it is none of these, is damaged, or does not hold a slimmable network.
    pub fn read(name: &str, bytes: Vec<u8>) -> Result<Self, PretrainedError> {
        let is_slimclr = name.rsplit_once('.').is_some_and(|(_, extension)| extension == EXTENSION);
        let read = if is_slimclr { Self::slimclr } else { Self::authors };
        read(name, bytes).map_err(|cause| named(name, cause))
    }

    fn authors(name: &str, bytes: Vec<u8>) -> Result<Self, Cause> {
        let state_dict = StateDict::open(bytes)?;
        let inferred = infer_architecture::infer(&state_dict.shapes())?;
        let config = inferred.config.clone();
        let tensors = Tensors::Authors(Box::new(state_dict), Box::new(inferred));
        Ok(Self { config, run: None, name: name.into(), tensors })
    }

    fn slimclr(name: &str, bytes: Vec<u8>) -> Result<Self, Cause> {
        let file = Checkpoint::read_encoder(&bytes)?;
        let run = Training {
            config: file.config().clone(),
            step: file.step(),
            normalisation: file.normalisation(),
            dataset: file.dataset().cloned(),
        };
        let config = run.config.encoder().map_err(|error| CheckpointError::from(ConfigError::from(error)))?;
        Ok(Self { config, run: Some(run), name: name.into(), tensors: Tensors::Slimclr(bytes) })
    }

    /// Returns the options it was trained with, or for a PyTorch file, which has none, the preset of its backbone.
    pub fn options(&self) -> Config {
        match (&self.run, self.config.backbone) {
            (Some(run), _) => run.config.clone(),
            (None, BackboneKind::Cifar) => Config::cifar10(),
            (None, BackboneKind::Resnet | BackboneKind::EfficientnetB0) => Config::imagenet_mocov2(),
        }
    }

    /// Returns the file's bytes, if it is a file of this program.
    pub fn checkpoint(&self) -> Option<&[u8]> {
        match &self.tensors {
            Tensors::Slimclr(bytes) => Some(bytes),
            Tensors::Authors(..) => None,
        }
    }

    /// Builds the encoder and reads its parameters, on `device`.
    ///
    /// # Errors
    /// If the file is damaged, or a tensor is not floating-point.
    pub fn load(&self, device: &Device) -> Result<(Encoder, Parameters), PretrainedError> {
        self.parameters(device).map_err(|cause| named(&self.name, cause))
    }

    fn parameters(&self, device: &Device) -> Result<(Encoder, Parameters), Cause> {
        match &self.tensors {
            Tensors::Slimclr(bytes) => {
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

/// Adds the file's name to an error.
fn named(name: &str, cause: Cause) -> PretrainedError {
    PretrainedError { name: name.into(), cause: Box::new(cause) }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use futures::executor::block_on;

    use super::*;
    use crate::{
        checkpoint::{self, Snapshot},
        head::HeadKind,
        interchange::pytorch::fixture::{Value, archive, legacy_file},
        method::Trainer,
        width::Widths,
    };

    /// Returns a trainer after 7 steps, and its options.
    fn trainer() -> (Trainer, Config) {
        let options = Config { image_size: 16, ..Config::mini() };
        let mut state = Trainer::new(&options, options.encoder().unwrap().build().unwrap(), &Device::flex());
        state.steps = 7;
        (state, options)
    }

    /// Returns the entries of a state dict with these parameters.
    fn under(prefix: &str, parameters: &Parameters) -> Vec<(String, Value)> {
        let tensors = parameters.named().map(|(spec, value)| {
            let values = value.clone().into_data().iter::<f32>().collect();
            (format!("{prefix}{}", spec.name), Value::Tensor(TensorData::new(values, spec.named_shape())))
        });
        tensors.collect()
    }

    /// Returns what the authors' code saves.
    fn authors_checkpoint(state_dict: Vec<(String, Value)>) -> Value {
        Value::dict([("epoch", Value::Pickled(b"K\x07".to_vec())), ("state_dict", Value::Dict(state_dict))])
    }

    fn values(parameters: &Parameters) -> Vec<(String, TensorData)> {
        parameters.named().map(|(spec, value)| (spec.name.clone(), value.clone().into_data())).collect()
    }

    #[test]
    fn checkpoint_snapshot_and_pytorch_files_hold_the_same_network() {
        let (state, options) = trainer();
        let dataset = DatasetSummary::without_digests(Normalisation::CIFAR10, vec!["cat".into()], [9, 1]);
        let checkpoint = block_on(checkpoint::save(&state, &options, &dataset)).unwrap();
        let snapshot = block_on(Snapshot::save(&state, &options)).unwrap();
        let authors = authors_checkpoint(under("module.encoder_q.", &state.query));
        let files = [
            ("checkpoint.safetensors", checkpoint, Some(Some(Normalisation::CIFAR10))),
            ("network.safetensors", snapshot, Some(None)),
            ("checkpoint_0199.pth.tar", archive(&authors), None),
            ("checkpoint_0199.pth", legacy_file(&authors), None),
        ];
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
    fn the_architecture_of_the_authors_checkpoints_is_inferred() {
        let config = EncoderConfig {
            backbone: BackboneKind::Cifar,
            depth: 8,
            multiplier: 1.0,
            widths: Widths::try_from(vec![1.0, 0.75, 0.3]).unwrap(),
            head: HeadKind::Mocov2,
            hidden: HeadKind::Mocov2.paper_hidden(),
            predictor: false,
            outputs: 8,
        };
        let layout = config.build().unwrap().layout().clone();
        let [query, key] = [1, 2].map(|seed| Parameters::init(layout.clone(), seed, &Device::flex()));
        let mut tensors = [under("module.encoder_q.", &query), under("module.encoder_k.", &key)].concat();
        for file in [archive, legacy_file] {
            let trained = Pretrained::read("w.pth", file(&authors_checkpoint(tensors.clone()))).unwrap();
            assert!(trained.run.is_none());
            assert_eq!((&trained.config, trained.options().image_size), (&config, 32));
            let (encoder, parameters) = trained.load(&Device::flex()).unwrap();
            assert_eq!(encoder.layout().iter().count(), layout.iter().count());
            assert_eq!(values(&parameters), values(&query));
        }
        tensors.retain(|(name, _)| name != "module.encoder_q.fc.2.bias");
        let error = Pretrained::read("w.pth", archive(&authors_checkpoint(tensors))).unwrap_err().to_string();
        assert_eq!(error, "w.pth cannot be used: the tensors do not fit the network: 1 missing (fc.2.bias)");
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let (state, options) = trainer();
        let other = Config { dim: 2 * options.dim, ..options };
        let misfit = block_on(Snapshot::save(&state, &other)).unwrap();
        let nothing = archive(&Value::dict([("state_dict", Value::dict([]))]));
        for (name, bytes, why) in [
            ("w.safetensors", b"no tensors".to_vec(), "intact safetensors file"),
            ("w.safetensors", misfit, "the tensors do not fit the network"),
            ("cat.jpg", b"\xff\xd8\xff".to_vec(), "it is not a PyTorch file"),
            ("w.pth", nothing, "it does not hold a network of the authors' code"),
        ] {
            let error = Pretrained::read(name, bytes).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} cannot be used: ")) && error.contains(why), "{error}");
        }
    }
}
