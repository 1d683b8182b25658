//! Opens trained networks: a run's folder, a checkpoint or snapshot of this program, or a file of another program.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use clap::ValueEnum;
use futures::executor::block_on;
use slimclr_core::{
    augment::Normalisation,
    checkpoint::MOMENTUM_ENCODER,
    encoder::EncoderConfig,
    event::Event,
    interchange::{
        infer_architecture::InferError,
        pretrained::{Cause, Pretrained, PretrainedError},
        safetensors_file::SafetensorsError,
        sub_network::SubNetwork,
    },
    parameter::Transfer,
    width::Widths,
};

use crate::{run_folder::RunFolder, terminal::note};

/// Opens a network as [`read`] does, and prints what was found in a file of another program.
///
/// # Errors
/// As [`read`].
pub fn open(path: &Path) -> Result<Pretrained> {
    let trained = read(path)?;
    if let Some(description) = trained.description() {
        note(&description);
    }
    Ok(trained)
}

/// Opens a run's folder, a checkpoint or snapshot of this program, or a network of another program in a PyTorch or
/// safetensors file.
///
/// # Errors
/// If it is none of these, or damaged.
pub fn read(path: &Path) -> Result<Pretrained> {
    open_branch(path, None)
}

/// Where files have the moving average of the weights of the network that was trained: this program's, and SimDis'.
const AVERAGES: [&str; 2] = [MOMENTUM_ENCODER, "student_ema"];

/// Opens the moving average of the weights of the network in `path`, which has this architecture, perhaps without its
/// predictors: the momentum encoder that was trained beside it. Returns `None` if there is none.
///
/// # Errors
/// As [`read`].
pub fn open_average(path: &Path, architecture: &EncoderConfig) -> Result<Option<Pretrained>> {
    for branch in AVERAGES {
        match open_branch(path, Some(branch)) {
            Ok(average) => {
                let with_predictors =
                    EncoderConfig { predictors: architecture.predictors.clone(), ..average.config.clone() };
                return Ok(Some(average).filter(|_| with_predictors == *architecture));
            }
            Err(error) => match error.downcast_ref::<PretrainedError>().map(|error| &*error.cause) {
                Some(Cause::Infer(InferError::NoBranch(..))) => {}
                _ => return Err(error),
            },
        }
    }
    Ok(None)
}

fn open_branch(path: &Path, branch: Option<&str>) -> Result<Pretrained> {
    if path.is_dir() {
        let folder = RunFolder::open(path)?;
        let name = folder.checkpoint_path().display().to_string();
        return Pretrained::read_branch(&name, folder.checkpoint()?, branch).map_err(|error| match *error.cause {
            Cause::Checkpoint(error) => folder.unusable_checkpoint(&error),
            Cause::NotANetwork(error) => folder.unusable_checkpoint(&SafetensorsError::from(error).into()),
            _ => error.into(),
        });
    }
    if !path.exists() {
        bail!("{} does not exist: name a run's folder, a checkpoint or a PyTorch file", path.display());
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Pretrained::read_branch(&path.display().to_string(), bytes, branch)?)
}

/// Returns the sub-network of `width` of the network in `path` as a plain network, without the others; for the full width,
/// the whole network.
///
/// # Errors
/// If it has no such width, or cannot be read.
pub fn sub_network(trained: Pretrained, width: f64, path: &Path) -> Result<Pretrained> {
    if width == 1.0 {
        return Ok(trained);
    }
    let (encoder, parameters) = trained.load(&Device::flex())?;
    let index = position(encoder.layout().widths(), width, path)?;
    let network = block_on(SubNetwork::take(&encoder, &parameters, index))?;
    let (name, EncoderConfig { backbone, depth, .. }) =
        (format!("{} at width {width}", path.display()), trained.config);
    Ok(Pretrained::read_exported(&name, network.to_safetensors(None)?, backbone, depth)?)
}

/// Returns the events of the run in the folder `path`; none if it is a file.
///
/// # Errors
/// If they cannot be read.
pub fn events(path: &Path) -> Result<Vec<Event>> {
    if path.is_dir() { RunFolder::open(path)?.events() } else { Ok(Vec::new()) }
}

/// Returns the normalisation of the images of the network in `path`: that of its file, or of the run's latest start for
/// checkpoints of older versions.
///
/// # Errors
/// If it is not recorded, or the run's events cannot be read.
pub fn normalisation(path: &Path, trained: &Pretrained) -> Result<Normalisation> {
    let recorded = match trained.normalisation() {
        Some(normalisation) => Some(normalisation),
        None => Event::latest_start(&events(path)?).and_then(|started| started.normalisation),
    };
    recorded.with_context(|| {
        format!(
            "{} does not record how its images were normalised: name the run's folder instead. If it is the run's \
             folder, `slimclr pretrain --resume` adds the record",
            path.display()
        )
    })
}

/// Returns the index of `width` among the `widths` of the network in `path`.
///
/// # Errors
/// If it has no such width.
pub fn position(widths: &Widths, width: f64, path: &Path) -> Result<usize> {
    widths.position(width).with_context(|| {
        let widths: Vec<String> = widths.iter().map(|width| width.to_string()).collect();
        format!("{} has no width {width}: choose from {}", path.display(), widths.join(", "))
    })
}

/// Says that `--init FILE` has another backbone than the options, and which options fit it.
pub fn other_backbone(file: &str, found: &EncoderConfig) -> String {
    let backbone = found.backbone.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let size = match found.backbone.has_sizes() {
        true => format!(" --depth {} --multiplier {}", found.depth, found.multiplier),
        false => String::new(),
    };
    format!("--init {file} is {found}: choose another file, or set --backbone {backbone}{size}")
}

/// Says what a run takes from `--init FILE`.
pub fn describe_transfer(file: &str, transfer: &Transfer) -> String {
    let head =
        if transfer.head { "backbone and head" } else { "backbone; the head has other layers, so it starts anew" };
    let widths: Vec<String> = transfer.new_widths.iter().map(f64::to_string).collect();
    let norms = match &widths[..] {
        [] => String::new(),
        widths => format!("; the norms of width {} start from the full network's", widths.join(", ")),
    };
    format!("starting from {file}: {head}{norms}")
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use slimclr_core::{
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
        let average = Parameters::init(state.encoder.layout().clone(), 5, &Device::flex());
        state.key = Some(average.clone());
        let bytes = block_on(checkpoint::save(&state, &options, &dataset)).unwrap();
        run.save(Artifact::Checkpoint, &bytes).unwrap();
        for path in [run.path(), &run.checkpoint_path()] {
            let trained = open(path).unwrap();
            let training = trained.run.as_ref().unwrap();
            assert_eq!((&training.config, training.step), (&options, 7));
            assert_eq!((&trained.config, trained.options().image_size), (&encoder, 16));
            let (_, parameters) = trained.load(&Device::flex()).unwrap();
            assert_eq!(values(&parameters), values(&state.query));
            let (_, found) = open_average(path, &encoder).unwrap().unwrap().load(&Device::flex()).unwrap();
            assert_eq!(values(&found), values(&average));
        }

        // A snapshot holds only the network; its tensors must fit its options.
        let snapshot = block_on(Snapshot::save(&state, &options)).unwrap();
        let path = folder.path().join("snapshot.safetensors");
        fs::write(&path, &snapshot).unwrap();
        let (_, parameters) = open(&path).unwrap().load(&Device::flex()).unwrap();
        assert_eq!(values(&parameters), values(&state.query));
        assert!(open_average(&path, &encoder).unwrap().is_none());
        let wider = Config { dim: 2 * options.dim, ..options };
        fs::write(&path, block_on(Snapshot::save(&state, &wider)).unwrap()).unwrap();
        let error = format!("{:#}", open(&path).unwrap_err());
        assert!(error.contains("snapshot.safetensors cannot be used: the tensors do not fit the network"), "{error}");
    }

    #[test]
    fn a_file_of_simdis_has_the_average_of_its_student_without_predictors() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/pytorch/simdis.pth");
        let student = open(&path).unwrap();
        let average = open_average(&path, &student.config).unwrap().unwrap();
        assert_eq!(average.branches().unwrap().0, "model.student_ema");
        assert_ne!(average.config.predictors, student.config.predictors);
        let device = Device::flex();
        let [student, average] = [student, average].map(|network| values(&network.load(&device).unwrap().1));
        // Both begin with backbone and head, so that layers find their parameters in either.
        assert!(student.iter().zip(&average).all(|(theirs, its)| theirs.0 == its.0) && student.len() > average.len());
        assert_ne!(student[0].1, average[0].1);
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| format!("{:#}", open(path).unwrap_err());
        assert!(refused(folder.path()).contains("is not a run's folder"));
        assert!(
            refused(&folder.path().join("nowhere.pth")).contains("name a run's folder, a checkpoint or a PyTorch file")
        );
        for file in ["weights.safetensors", "weights.pth"] {
            let file = folder.path().join(file);
            fs::write(&file, "no tensors").unwrap();
            let sentence = format!("{} cannot be used: it is not a network but text, which", file.display());
            assert!(refused(&file).starts_with(&sentence));
        }
    }
}
