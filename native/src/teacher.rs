//! A run's teacher: named by the option `teacher`, and copied to the run's folder, so that the run resumes without it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use slimclr_core::{
    config::Config,
    encoder::{Encoder, EncoderConfig},
    method::{MethodKind, Teacher},
    parameter::Parameters,
};

use crate::{pretrained, ranks, run_folder::RunFolder};

/// Opens the teacher that the options name, if they name one.
///
/// # Errors
/// If it cannot be read, or the method cannot compare its student with it.
pub fn open(config: &Config, device: &Device) -> Result<Option<Teacher>> {
    if config.teacher.is_empty() { Ok(None) } else { read(Path::new(&config.teacher), config, device).map(Some) }
}

/// Checks that the network in `path` can teach runs with these options. Returns its architecture.
///
/// # Errors
/// If it cannot be read, or the method of one cannot compare its student with it.
pub fn check<'a>(path: &Path, runs: impl Iterator<Item = &'a Config>, device: &Device) -> Result<EncoderConfig> {
    let trained = pretrained::open(path)?;
    let network = trained.load(device)?;
    for config in runs {
        create(path, config, &trained.config, network.clone())?;
    }
    Ok(trained.config)
}

/// Opens the copy in the folder of a run, if it has a teacher.
///
/// # Errors
/// As [`open`], and if the copy is gone.
pub fn of_run(folder: &RunFolder, config: &Config, device: &Device) -> Result<Option<Teacher>> {
    if config.teacher.is_empty() {
        return Ok(None);
    }
    let path = folder.teacher_path();
    if !path.exists() {
        bail!("{}, the run's copy of its teacher, is gone: put it back, or train a new run", path.display());
    }
    read(&path, config, device).map(Some)
}

/// Copies the teacher that the options name, if they name one, to the folder of a run.
///
/// # Errors
/// If it cannot be copied.
pub fn keep(folder: &RunFolder, config: &Config) -> Result<()> {
    let path = Path::new(&config.teacher);
    match config.teacher.is_empty() || !ranks::is_first() {
        true => Ok(()),
        false if path.is_dir() => folder.save_teacher(&RunFolder::open(path)?.checkpoint_path(), true),
        false => folder.save_teacher(path, false),
    }
}

fn read(path: &Path, config: &Config, device: &Device) -> Result<Teacher> {
    let trained = pretrained::open(path)?;
    let teacher = create(path, config, &trained.config, trained.load(device)?)?;
    let average = match config.method {
        MethodKind::Simdis => pretrained::open_average(path, &trained.config)?,
        _ => None,
    };
    Ok(match average {
        Some(average) => Teacher { average: Some(average.load(device)?.1), ..teacher },
        None => teacher,
    })
}

/// Makes the teacher of a run from the network in `path`.
fn create(
    path: &Path,
    config: &Config,
    architecture: &EncoderConfig,
    network: (Encoder, Parameters),
) -> Result<Teacher> {
    Teacher::new(config, architecture, network)
        .with_context(|| format!("{} ({architecture}) cannot be the teacher", path.display()))
}
