//! Trained networks in files: checkpoints and snapshots of this program, and networks of other programs, in PyTorch's
//! files and in safetensors.

use burn::tensor::{Device, TensorData};
use thiserror::Error;

use super::{
    exported::Exported,
    file_kind::FileKind,
    infer_architecture::{self, InferError, Inferred},
    not_a_network::NotANetwork,
    pytorch::{PytorchError, StateDict},
    safetensors_file::{self, SafetensorsError},
};
use crate::{
    augment::Normalisation,
    checkpoint::{self, Checkpoint, CheckpointError},
    config::{Config, ConfigError},
    dataset::DatasetSummary,
    encoder::{BackboneKind, Encoder, EncoderConfig},
    layout::Shapes,
    parameter::Parameters,
};

/// A trained encoder. Its parameters are read on demand.
#[derive(Debug)]
pub struct Pretrained {
    /// The encoder's architecture.
    pub config: EncoderConfig,
    /// The run that trained it, if it was a run of this program.
    pub run: Option<Training>,
    /// What its file says of it, if it is one width that this program has exported to safetensors.
    pub exported: Option<Exported>,
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
    /// The bytes of a file of this program, and the branch of the encoder.
    Slimclr(Vec<u8>, &'static str),
    /// Those of a PyTorch file.
    Pytorch(Box<StateDict>, Box<Inferred>),
    /// The bytes of a safetensors file of another program.
    Safetensors(Vec<u8>, Box<Inferred>),
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
    /// A file that holds no network.
    #[error(transparent)]
    NotANetwork(#[from] NotANetwork),
    /// A damaged checkpoint or snapshot of this program, or one that does not fit its options.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A PyTorch file that cannot be read.
    #[error(transparent)]
    Pytorch(#[from] PytorchError),
    /// A damaged safetensors file.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// A state dict of another network.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Weights of a network that has diverged.
    #[error("tensor {0} has values that are NaN or infinite, so the network is unusable: choose another file")]
    NotFinite(String),
}

impl Pretrained {
    /// Reads the bytes of a file: a checkpoint or snapshot of this program, a width that it has exported to safetensors,
    /// or a network of another program in a PyTorch file or in safetensors. The bytes tell which; the name is for errors.
    ///
    /// # Errors
    /// If it is none of these, is damaged, or holds no network of a known architecture.
    pub fn read(name: &str, bytes: Vec<u8>) -> Result<Self, PretrainedError> {
        Self::read_branch(name, bytes, None)
    }

    /// Reads one of several encoders in a file: that of `branch`, the names before those of its layers, of which the last
    /// are enough (`encoder_k`, `student_ema`). Without a branch, it is the trained one: of MoCo's files and of this
    /// program's it is `encoder_q`, of SEED's and SimDis' `student`.
    ///
    /// # Errors
    /// As [`read`](Self::read), and if there is no such branch.
    pub fn read_branch(name: &str, bytes: Vec<u8>, branch: Option<&str>) -> Result<Self, PretrainedError> {
        let read = || match FileKind::of(&bytes)? {
            FileKind::Pytorch => Self::pytorch(name, bytes, branch),
            FileKind::Safetensors => match slimclr(&bytes, branch) {
                Ok((config, run, branch)) => {
                    let tensors = Tensors::Slimclr(bytes, branch);
                    Ok(Self { config, run: Some(run), exported: None, name: name.into(), tensors })
                }
                Err(Cause::Checkpoint(CheckpointError::Foreign)) => {
                    let exported = Exported::of(&bytes).filter(|_| branch.is_none());
                    let infer = |shapes: &Shapes| match &exported {
                        Some(it) => infer_architecture::infer_size(shapes, it.backbone, it.depth.unwrap_or(0)),
                        None => infer_architecture::infer(shapes, branch),
                    };
                    let trained = Self::safetensors(name, bytes, infer)?;
                    Ok(Self { exported, ..trained })
                }
                Err(cause) => Err(cause),
            },
        };
        read().map_err(|cause| named(name, cause))
    }

    /// Reads a width that this program has exported to safetensors, of a network with this kind of backbone and this depth.
    /// Without this knowledge, some plain networks cannot be distinguished.
    ///
    /// # Errors
    /// If the file is damaged, or holds another network.
    pub fn read_exported(
        name: &str,
        bytes: Vec<u8>,
        backbone: BackboneKind,
        depth: usize,
    ) -> Result<Self, PretrainedError> {
        let infer = |shapes: &Shapes| infer_architecture::infer_size(shapes, backbone, depth);
        Self::safetensors(name, bytes, infer).map_err(|cause| named(name, cause))
    }

    fn pytorch(name: &str, bytes: Vec<u8>, branch: Option<&str>) -> Result<Self, Cause> {
        let state_dict = StateDict::open(bytes)?;
        let inferred = infer_architecture::infer(&state_dict.shapes(), branch)?;
        let config = inferred.config.clone();
        let tensors = Tensors::Pytorch(state_dict.into(), inferred.into());
        Ok(Self { config, run: None, exported: None, name: name.into(), tensors })
    }

    fn safetensors(
        name: &str,
        bytes: Vec<u8>,
        infer: impl FnOnce(&Shapes) -> Result<Inferred, InferError>,
    ) -> Result<Self, Cause> {
        let tensors = safetensors_file::open(&bytes)?;
        let shapes = tensors.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec())).collect();
        let inferred = infer(&shapes)?;
        let config = inferred.config.clone();
        let tensors = Tensors::Safetensors(bytes, inferred.into());
        Ok(Self { config, run: None, exported: None, name: name.into(), tensors })
    }

    /// Describes what was found in a file of another program, and where: one sentence for people.
    pub fn description(&self) -> Option<String> {
        Some(format!("{}: {}", self.name, self.inferred()?.description))
    }

    /// Returns the branch of a file of another program that the encoder is, and those of the file's other networks.
    pub fn branches(&self) -> Option<(&str, &[String])> {
        let inferred = self.inferred()?;
        Some((&inferred.branch, &inferred.others))
    }

    /// Returns what was inferred of a file of another program.
    fn inferred(&self) -> Option<&Inferred> {
        match &self.tensors {
            Tensors::Slimclr(..) => None,
            Tensors::Pytorch(_, inferred) | Tensors::Safetensors(_, inferred) => Some(inferred),
        }
    }

    /// Returns the options it was trained with, or for another file, which has none, the preset of its backbone.
    pub fn options(&self) -> Config {
        let preset = match &self.run {
            Some(run) => run.config.clone(),
            None if self.config.backbone.is_for_small_images() => Config::cifar10(),
            None => Config::imagenet_mocov2(),
        };
        match &self.exported {
            Some(exported) => Config { image_size: exported.image_size, ..preset },
            None => preset,
        }
    }

    /// Returns the normalisation of its images; for a file of another program, the statistics of the data set that its
    /// backbone is made for. `None` if it was a run's and is not recorded.
    pub fn normalisation(&self) -> Option<Normalisation> {
        match (&self.run, &self.exported) {
            (Some(run), _) => run.normalisation,
            (None, Some(exported)) => Some(exported.normalisation),
            (None, None) => Some(Normalisation::of(self.config.backbone)),
        }
    }

    /// Returns the names of the classes that its classifier tells apart, in the order of the logits; none if it has no
    /// classifier, or they are not known.
    pub fn classes(&self) -> &[String] {
        let of_run = || Some(&self.run.as_ref()?.dataset.as_ref()?.classes);
        let classes = self.exported.as_ref().map(|exported| &exported.classes).or_else(of_run);
        let is_named =
            |classes: &&Vec<String>| self.config.head.is_classifier() && classes.len() == self.config.outputs;
        classes.filter(is_named).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the file's bytes, if it is a file of this program.
    pub fn checkpoint(&self) -> Option<&[u8]> {
        match &self.tensors {
            Tensors::Slimclr(bytes, _) => Some(bytes),
            Tensors::Pytorch(..) | Tensors::Safetensors(..) => None,
        }
    }

    /// Builds the encoder and reads its parameters, on `device`.
    ///
    /// # Errors
    /// If the file is damaged, or a tensor is not floating-point, or has values that are NaN or infinite.
    pub fn load(&self, device: &Device) -> Result<(Encoder, Parameters), PretrainedError> {
        self.parameters(device).map_err(|cause| named(&self.name, cause))
    }

    fn parameters(&self, device: &Device) -> Result<(Encoder, Parameters), Cause> {
        match &self.tensors {
            Tensors::Slimclr(bytes, branch) => {
                let file = Checkpoint::read_encoder(bytes)?;
                let encoder = file.encoder()?;
                let read = |name: &str| {
                    let name = format!("{branch}.{name}");
                    finite(&name, file.tensor(&name)?)
                };
                let parameters = Parameters::from_named(encoder.layout().clone(), device, read)?;
                Ok((encoder, parameters))
            }
            Tensors::Pytorch(state_dict, inferred) => {
                let read = |name: &str| finite(name, state_dict.read(name)?);
                Ok((inferred.encoder.clone(), inferred.parameters(device, read)?))
            }
            Tensors::Safetensors(bytes, inferred) => {
                let tensors = safetensors_file::open(bytes)?;
                let read = |name: &str| finite(name, safetensors_file::read(&tensors, name)?);
                Ok((inferred.encoder.clone(), inferred.parameters(device, read)?))
            }
        }
    }
}

/// Returns the values of the tensor `name`.
///
/// # Errors
/// If some are NaN or infinite.
fn finite(name: &str, values: TensorData) -> Result<TensorData, Cause> {
    let is_finite = values.iter::<f32>().all(f32::is_finite);
    if is_finite { Ok(values) } else { Err(Cause::NotFinite(name.into())) }
}

/// Reads architecture, run and branch of a checkpoint or snapshot of this program.
fn slimclr(bytes: &[u8], branch: Option<&str>) -> Result<(EncoderConfig, Training, &'static str), Cause> {
    let file = Checkpoint::read_encoder(bytes)?;
    let wanted = branch.unwrap_or(checkpoint::QUERY);
    let branch = file.branches().find(|branch| *branch == wanted);
    let branch =
        branch.ok_or_else(|| InferError::NoBranch(wanted.into(), file.branches().map(String::from).collect()))?;
    let run = Training {
        config: file.config().clone(),
        step: file.step(),
        normalisation: file.normalisation(),
        dataset: file.dataset().cloned(),
    };
    let config = run.config.encoder().map_err(ConfigError::from).map_err(CheckpointError::from)?;
    Ok((config, run, branch))
}

/// Adds the file's name to an error.
fn named(name: &str, cause: Cause) -> PretrainedError {
    PretrainedError { name: name.into(), cause: Box::new(cause) }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use safetensors::{Dtype, serialize, tensor::TensorView};

    use super::*;
    use crate::{
        checkpoint::Snapshot,
        head::HeadKind,
        interchange::{
            pytorch::fixture::{Value, archive, legacy_file},
            torchvision::Names,
        },
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
            widths: Widths::try_from(vec![1.0, 0.75, 0.3]).unwrap(),
            ..EncoderConfig::new(BackboneKind::Cifar, 8, HeadKind::Mocov2, 8)
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

    /// Returns the tensors of a plain network with torchvision's names, below `prefix`.
    fn plain(prefix: &str, parameters: &Parameters) -> Vec<(String, TensorData)> {
        let names = Names::of(parameters.layout());
        let named = parameters.named().map(|(spec, value)| {
            let values = value.clone().into_data().iter::<f32>().collect();
            (format!("{prefix}{}", names.name(spec)), TensorData::new(values, spec.named_shape()))
        });
        named.collect()
    }

    fn safetensors(tensors: &[(String, TensorData)]) -> Vec<u8> {
        let views = tensors
            .iter()
            .map(|(name, data)| (name, TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes()).unwrap()));
        serialize(views, None).unwrap()
    }

    #[test]
    fn plain_networks_open_whatever_the_files_name() {
        let config = EncoderConfig {
            multiplier: 0.0625,
            ..EncoderConfig::new(BackboneKind::Resnet, 18, HeadKind::Supervised, 3)
        };
        let expected = Parameters::init(config.build().unwrap().layout().clone(), 1, &Device::flex());
        let pytorch = |prefix: &str| {
            let tensors = plain(prefix, &expected).into_iter().map(|(name, data)| (name, Value::Tensor(data)));
            Value::dict([("epoch", Value::Pickled(b"K\x07".to_vec())), ("net", Value::Dict(tensors.collect()))])
        };
        for (name, bytes, place) in [
            ("resnet18.pth", archive(&pytorch("")), "net"),
            ("resnet18.safetensors", archive(&pytorch("module._orig_mod.")), "net"),
            ("resnet18", legacy_file(&pytorch("module.module.backbone.")), "net.backbone"),
            ("resnet18.safetensors", safetensors(&plain("", &expected)), "its root"),
            ("RESNET18.SAFETENSORS", safetensors(&plain("model.", &expected)), "model"),
            ("resnet18.pth", safetensors(&plain("", &expected)), "its root"),
        ] {
            let trained = Pretrained::read(name, bytes).unwrap();
            assert_eq!(trained.description().unwrap(), format!("{name}: ResNet-18 x0.0625 below {place}; head 32-3"));
            assert_eq!((&trained.config, trained.options().image_size), (&config, 224));
            let (_, parameters) = trained.load(&Device::flex()).unwrap();
            assert_eq!(values(&parameters), values(&expected), "{name}");
        }
    }

    #[test]
    fn the_key_encoder_of_a_checkpoint_is_a_branch() {
        let (mut state, options) = trainer();
        let first = state.encoder.layout().iter().next().unwrap().0;
        state.key.as_mut().unwrap().update(first, |value| value + 1.0);
        let dataset = DatasetSummary::without_digests(Normalisation::CIFAR10, Vec::new(), [9, 1]);
        let checkpoint = block_on(checkpoint::save(&state, &options, &dataset)).unwrap();
        for (branch, expected) in [(None, &state.query), (Some("encoder_k"), state.key.as_ref().unwrap())] {
            let trained = Pretrained::read_branch("c.safetensors", checkpoint.clone(), branch).unwrap();
            assert_eq!(values(&trained.load(&Device::flex()).unwrap().1), values(expected), "{branch:?}");
        }
        let snapshot = block_on(Snapshot::save(&state, &options)).unwrap();
        let error = Pretrained::read_branch("s.safetensors", snapshot, Some("encoder_k")).unwrap_err().to_string();
        assert!(error.ends_with("it holds no network below encoder_k: choose from encoder_q"), "{error}");
    }

    #[test]
    fn weights_that_are_not_numbers_are_refused() {
        let (mut state, options) = trainer();
        let first = state.encoder.layout().iter().next().unwrap().0;
        state.query.update(first, |value| value * f32::NAN);
        let snapshot = block_on(Snapshot::save(&state, &options)).unwrap();
        let pytorch = archive(&authors_checkpoint(under("module.encoder_q.", &state.query)));
        for bytes in [snapshot, pytorch] {
            let error = Pretrained::read("w", bytes).unwrap().load(&Device::flex()).unwrap_err().to_string();
            assert!(error.starts_with("w cannot be used: tensor "), "{error}");
            assert!(error.contains("encoder_q.conv1.weight has values that are NaN or infinite"), "{error}");
        }
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let (state, options) = trainer();
        let other = Config { dim: 2 * options.dim, ..options.clone() };
        let misfit = block_on(Snapshot::save(&state, &other)).unwrap();
        let dataset = DatasetSummary::without_digests(Normalisation::CIFAR10, vec!["cat".into()], [9, 1]);
        let checkpoint = block_on(checkpoint::save(&state, &options, &dataset)).unwrap();
        let head = Value::Tensor(TensorData::from([[0.5f32]]));
        let other_network = Value::dict([("model", Value::dict([("head.weight", head)]))]);
        let full = Config { widths: vec![1.0], ..options.clone() }.encoder().unwrap().build().unwrap();
        let full = Parameters::init(full.layout().clone(), 1, &Device::flex());
        let several = ["a.", "b."].map(|prefix| plain(prefix, &full)).concat();
        let several = safetensors(&several);
        let nothing = archive(&Value::dict([("state_dict", Value::dict([]))]));
        for (name, bytes, why) in [
            ("w.safetensors", b"no tensors".to_vec(), "it is not a network but text, which begins with 'no tensors'"),
            ("w.safetensors", checkpoint[..checkpoint.len() / 2].to_vec(), "it was cut short at "),
            ("w.safetensors", misfit, "the tensors do not fit the network"),
            ("w.pth", b"\xff\xd8\xff".to_vec(), "it is a JPEG image: "),
            ("w.pth", nothing, "it holds no named tensors, but a dictionary with the keys state_dict"),
            ("w.pth", archive(&other_network), "no known network is among its 1 tensors (model.head.weight): a ResNet"),
            ("w.safetensors", several, "it holds several networks, below a and b: save"),
        ] {
            let error = Pretrained::read(name, bytes).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} cannot be used: ")) && error.contains(why), "{error}");
        }
    }
}
