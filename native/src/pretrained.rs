//! Opens trained networks: a run's folder, a checkpoint or snapshot of this program, or a PyTorch file.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use slimclr_core::interchange::pretrained::Pretrained;

use crate::run_folder::RunFolder;

/// Opens a run's folder, a checkpoint or snapshot of this program (`.safetensors`), or a checkpoint of the authors'
/// PyTorch code.
///
/// # Errors
/// If it is none of these, or damaged.
pub fn open(path: &Path) -> Result<Pretrained> {
    let (path, bytes) = if path.is_dir() {
        let folder = RunFolder::open(path)?;
        (folder.checkpoint_path(), folder.checkpoint()?)
    } else if path.exists() {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        (path.to_owned(), bytes)
    } else {
        bail!("{} does not exist: name a run's folder, a checkpoint or a PyTorch file", path.display());
    };
    Ok(Pretrained::read(&path.display().to_string(), bytes)?)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use futures::executor::block_on;
    use slimclr_core::{
        augment::Normalisation,
        checkpoint::{self, Snapshot},
        config::Config,
        dataset::DatasetSummary,
        method::Trainer,
        parameter::Parameters,
        train::Artifact,
    };

    use super::*;

    fn values(parameters: &Parameters) -> Vec<(String, TensorData)> {
        parameters.named().map(|(spec, value)| (spec.name.clone(), value.clone().into_data())).collect()
    }

    #[test]
    fn a_run_and_its_checkpoint_open_as_the_same_network() {
        let folder = tempfile::tempdir().unwrap();
        let options = Config { image_size: 16, ..Config::mini() };
        let dataset = DatasetSummary::without_digests(Normalisation::CIFAR10, Vec::new(), [9, 1]);
        let (run, _) = RunFolder::create(&folder.path().join("run"), &options, &dataset).unwrap();
        let error = format!("{:#}", open(run.path()).unwrap_err());
        assert!(error.contains("has no checkpoint yet"), "{error}");

        let encoder = options.encoder().unwrap();
        let mut state = Trainer::new(&options, encoder.build().unwrap(), &Device::flex());
        state.steps = 7;
        let bytes = block_on(checkpoint::save(&state, &options, &dataset)).unwrap();
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
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| format!("{:#}", open(path).unwrap_err());
        assert!(refused(folder.path()).contains("is not a run's folder"));
        assert!(
            refused(&folder.path().join("nowhere.pth")).contains("name a run's folder, a checkpoint or a PyTorch file")
        );
        for (file, why) in [("weights.safetensors", "intact safetensors file"), ("weights.pth", "not a PyTorch file")] {
            let file = folder.path().join(file);
            fs::write(&file, "no tensors").unwrap();
            let error = refused(&file);
            assert!(error.contains(&format!("{} cannot be used: ", file.display())) && error.contains(why), "{error}");
        }
    }
}
