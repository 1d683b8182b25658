//! Opens trained networks: a run's folder, a checkpoint or snapshot of this program, or a PyTorch file.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use burn::tensor::TensorData;
use slimclr_core::{
    interchange::pretrained::{EXTENSION, Pretrained, ReadError, StateDict},
    layout::Shapes,
};

use crate::{pytorch, run_folder::RunFolder};

/// Opens a run's folder, a checkpoint or snapshot of this program (`.safetensors`), or a checkpoint of the authors'
/// PyTorch code.
///
/// # Errors
/// If it is none of these, or not whole.
pub fn open(path: &Path) -> Result<Pretrained> {
    if path.is_dir() {
        let folder = RunFolder::open(path)?;
        return Ok(Pretrained::read(&name(&folder.checkpoint_path()), folder.checkpoint()?)?);
    }
    if !path.exists() {
        bail!("{} does not exist: name a run's folder, a checkpoint or a PyTorch file", path.display());
    }
    if path.extension().is_some_and(|extension| extension == EXTENSION) {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        return Ok(Pretrained::read(&name(path), bytes)?);
    }
    Ok(Pretrained::from_state_dict(&name(path), pytorch::StateDict::open(path)?)?)
}

/// Names a file in errors.
fn name(path: &Path) -> String {
    path.display().to_string()
}

impl StateDict for pytorch::StateDict {
    fn shapes(&self) -> Shapes {
        self.shapes()
    }

    fn read(&self, name: &str) -> Result<TensorData, ReadError> {
        Ok(self.read(name)?)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use futures::executor::block_on;
    use slimclr_core::{
        augment::Normalisation,
        checkpoint::{self, Snapshot},
        config::Config,
        encoder::{BackboneKind, EncoderConfig},
        head::HeadKind,
        method::Trainer,
        parameter::Parameters,
        train::Artifact,
        width::Widths,
    };

    use super::*;
    use crate::pytorch::fixture::{self, Value};

    fn values(parameters: &Parameters) -> Vec<(String, TensorData)> {
        parameters.named().map(|(spec, value)| (spec.name.clone(), value.clone().into_data())).collect()
    }

    #[test]
    fn a_run_and_its_checkpoint_open_as_the_same_network() {
        let folder = tempfile::tempdir().unwrap();
        let options = Config { image_size: 16, ..Config::mini() };
        let run = RunFolder::create(&folder.path().join("run"), &options).unwrap();
        let error = format!("{:#}", open(run.path()).unwrap_err());
        assert!(error.contains("cannot read the checkpoint"), "{error}");

        let encoder = options.encoder().unwrap();
        let mut state = Trainer::new(&options, encoder.build().unwrap(), &Device::flex());
        state.steps = 7;
        let bytes = block_on(checkpoint::save(&state, &options, Normalisation::CIFAR10)).unwrap();
        run.save(Artifact::Checkpoint, &bytes).unwrap();
        for path in [run.path(), &run.checkpoint_path()] {
            let trained = open(path).unwrap();
            let training = trained.run.as_ref().unwrap();
            assert_eq!((&training.config, training.step), (&options, 7));
            assert_eq!((&trained.config, trained.options().image_size), (&encoder, 16));
            let (_, parameters) = trained.load(&Device::flex()).unwrap();
            assert_eq!(values(&parameters), values(&state.query));
        }

        // A snapshot holds only the network; its tensors must fit its options.
        let snapshot = block_on(Snapshot::save(&state, &options)).unwrap();
        let path = folder.path().join("snapshot.safetensors");
        fs::write(&path, &snapshot).unwrap();
        let (_, parameters) = open(&path).unwrap().load(&Device::flex()).unwrap();
        assert_eq!(values(&parameters), values(&state.query));
        let wider = Config { dim: 2 * options.dim, ..options };
        fs::write(&path, block_on(Snapshot::save(&state, &wider)).unwrap()).unwrap();
        let error = format!("{:#}", open(&path).unwrap_err());
        assert!(error.contains("snapshot.safetensors cannot be used: the tensors do not fit the network"), "{error}");
    }

    #[test]
    fn the_options_of_the_authors_files_are_inferred() {
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
        let under = |prefix: &str, parameters: &Parameters| -> Vec<(String, Value)> {
            let named = parameters.named();
            named
                .map(|(spec, value)| {
                    let data = value.clone().into_data();
                    (
                        format!("{prefix}{}", spec.name),
                        Value::Tensor(TensorData::new(data.iter::<f32>().collect(), spec.named_shape())),
                    )
                })
                .collect()
        };
        let mut tensors = [under("module.encoder_q.", &query), under("module.encoder_k.", &key)].concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint_0199.pth.tar");
        let save = |tensors: &[(String, Value)]| {
            let root = Value::dict([("state_dict", Value::Dict(tensors.to_vec()))]);
            fs::write(&path, fixture::older_file(&root)).unwrap();
        };
        save(&tensors);
        let trained = open(&path).unwrap();
        assert!(trained.run.is_none());
        assert_eq!((&trained.config, trained.options().image_size), (&config, 32));
        let (encoder, parameters) = trained.load(&Device::flex()).unwrap();
        assert_eq!(encoder.layout().iter().count(), layout.iter().count());
        assert_eq!(values(&parameters), values(&query));

        tensors.retain(|(name, _)| name != "module.encoder_q.fc.2.bias");
        save(&tensors);
        let error = format!("{:#}", open(&path).unwrap_err());
        assert!(
            error.ends_with(
                "checkpoint_0199.pth.tar cannot be used: the tensors do not fit the network: 1 missing (fc.2.bias)"
            ),
            "{error}"
        );
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| format!("{:#}", open(path).unwrap_err());
        assert!(refused(folder.path()).contains("is not a run's folder"));
        assert!(
            refused(&folder.path().join("nowhere.pth")).contains("name a run's folder, a checkpoint or a PyTorch file")
        );
        let file = folder.path().join("weights.safetensors");
        fs::write(&file, "no tensors").unwrap();
        assert!(refused(&file).contains("weights.safetensors cannot be used: this is no intact safetensors file"));
    }
}
