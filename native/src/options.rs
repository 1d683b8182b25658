//! A run's options: a preset, overridden by a TOML file, overridden by flags.

mod file;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, parser::ValueSource};
use slimclr_core::config::{Config, Recipe};
use toml::{Table, Value};

/// Named sets of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// A small network for a few minutes on a laptop
    Mini,
    /// ResNet-20 on CIFAR-10, MoCo v2, 200 epochs
    Cifar10,
    /// ResNet-20 on CIFAR-10, MoCo v3, 200 epochs
    Cifar10Mocov3,
    /// ResNet-50 on ImageNet, MoCo v2, 200 epochs
    ImagenetMocov2,
    /// ResNet-50 on ImageNet, MoCo v3, 300 epochs
    ImagenetMocov3,
    /// ResNet-50 on ImageNet with labels, 100 epochs: the paper's supervised baseline
    ImagenetSupervised,
    /// ResNet-20 on CIFAR-10, SEED
    Cifar10Seed,
    /// ResNet-20 on CIFAR-10, DisCo
    Cifar10Disco,
    /// ResNet-20 on CIFAR-10, BINGO
    Cifar10Bingo,
    /// ResNet-20 on CIFAR-10, CompRess
    Cifar10Compress,
    /// ResNet-20 on CIFAR-10, SimDis with an online teacher
    Cifar10Simdis,
    /// ResNet-20 on CIFAR-10, BYOL
    Cifar10Byol,
    /// ResNet-20 on CIFAR-10, plain distillation
    Cifar10Kd,
    /// ResNet-20 on CIFAR-10, MoCo v2 as tuned by Shi et al.; start it from a short SEED run with --init
    Cifar10Shi,
    /// ResNet-20 on CIFAR-10, SwAV
    Cifar10Swav,
    /// ResNet-18 on ImageNet, SEED
    ImagenetSeed,
    /// ResNet-18 on ImageNet, DisCo
    ImagenetDisco,
    /// ResNet-18 on ImageNet, BINGO
    ImagenetBingo,
    /// ResNet-18 on ImageNet, CompRess
    ImagenetCompress,
    /// ResNet-18 on ImageNet, SimDis with an online teacher
    ImagenetSimdis,
    /// ResNet-18 on ImageNet, BYOL
    ImagenetByol,
    /// ResNet-18 on ImageNet, plain distillation
    ImagenetKd,
    /// ResNet-18 on ImageNet, MoCo v2 as tuned by Shi et al.; start it from a short SEED run with --init
    ImagenetShi,
    /// ResNet-50 on ImageNet, SwAV
    ImagenetSwav,
}

impl Preset {
    /// Returns the preset's options.
    pub fn config(self) -> Config {
        match self {
            Self::Mini => Config::mini(),
            Self::Cifar10 => Config::cifar10(),
            Self::Cifar10Mocov3 => Config::cifar10_mocov3(),
            Self::ImagenetMocov2 => Config::imagenet_mocov2(),
            Self::ImagenetMocov3 => Config::imagenet_mocov3(),
            Self::ImagenetSupervised => Config::imagenet_supervised(),
            Self::Cifar10Seed => Recipe::Seed.cifar10(),
            Self::Cifar10Disco => Recipe::Disco.cifar10(),
            Self::Cifar10Bingo => Recipe::Bingo.cifar10(),
            Self::Cifar10Compress => Recipe::Compress.cifar10(),
            Self::Cifar10Simdis => Recipe::Simdis.cifar10(),
            Self::Cifar10Byol => Recipe::Byol.cifar10(),
            Self::Cifar10Kd => Recipe::Kd.cifar10(),
            Self::Cifar10Shi => Recipe::Shi.cifar10(),
            Self::Cifar10Swav => Recipe::Swav.cifar10(),
            Self::ImagenetSeed => Recipe::Seed.imagenet(),
            Self::ImagenetDisco => Recipe::Disco.imagenet(),
            Self::ImagenetBingo => Recipe::Bingo.imagenet(),
            Self::ImagenetCompress => Recipe::Compress.imagenet(),
            Self::ImagenetSimdis => Recipe::Simdis.imagenet(),
            Self::ImagenetByol => Recipe::Byol.imagenet(),
            Self::ImagenetKd => Recipe::Kd.imagenet(),
            Self::ImagenetShi => Recipe::Shi.imagenet(),
            Self::ImagenetSwav => Recipe::Swav.imagenet(),
        }
    }

    /// Returns its name on the command line.
    pub fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self).expect("no preset is hidden");
        value.get_name().to_owned()
    }
}

/// Options that may change when a run resumes, because they do not affect what is trained. The images under another path
/// are compared with the run's.
const CHANGEABLE_ON_RESUME: [&str; 7] =
    ["data", "device", "evaluate_every", "checkpoint_every", "knn", "knn_images", "recompute"];

/// Options that every run has. The others came later; a run without one of them has its default.
const IN_EVERY_RUN: [&str; 31] = [
    "temperature",
    "queue",
    "key_momentum",
    "bn_splits",
    "backbone",
    "depth",
    "multiplier",
    "widths",
    "dim",
    "slow_start",
    "distill",
    "distill_weight",
    "teacher_temperature",
    "student_temperature",
    "full_distill",
    "reweighting",
    "epochs",
    "batch",
    "learning_rate",
    "decay",
    "warmup",
    "milestones",
    "momentum",
    "weight_decay",
    "image_size",
    "data",
    "knn",
    "evaluate_every",
    "seed",
    "device",
    "checkpoint_every",
];

/// An option that older runs lack. They evaluate with all images.
const KNN_IMAGES: &str = "knn_images";

/// Reads a complete set of options.
///
/// # Errors
/// If the file is missing, is not TOML, or has unknown or missing keys.
pub fn read(path: &Path) -> Result<Config> {
    let mut table = file::read(path)?;
    table.entry(KNN_IMAGES).or_insert(Value::Integer(0));
    if let Some(key) = IN_EVERY_RUN.iter().find(|key| !table.contains_key(**key)) {
        bail!("{} is incomplete: add the option '{key}', which every run has", path.display());
    }
    table.try_into().with_context(|| format!("{} is not a valid configuration", path.display()))
}

/// Returns `base`, overridden by the keys of the TOML file `file`, overridden by the flags given on the command line.
///
/// # Errors
/// If the file cannot be read or has an unknown key, or an option has an invalid value.
pub fn merge(base: &Config, file: Option<&Path>, flags: &Config, matches: &ArgMatches) -> Result<Config> {
    let mut table = Table::try_from(base)?;
    if let Some(path) = file {
        table.extend(file::read(path)?);
    }
    for (key, value) in Table::try_from(flags)? {
        if matches.value_source(&key) == Some(ValueSource::CommandLine) {
            table.insert(key, value);
        }
    }
    let config: Config = table.try_into().context("the configuration has a value of the wrong type")?;
    config.check()?;
    Ok(config)
}

/// Returns the names of all options, as in TOML files.
///
/// # Errors
/// If the defaults cannot be written as TOML.
pub fn keys() -> Result<Vec<String>> {
    Ok(Table::try_from(Config::default())?.keys().cloned().collect())
}

/// Returns the flags of options that were given on the command line, with their values as they were typed.
pub fn given(matches: &ArgMatches) -> Result<Vec<OsString>> {
    let is_given = |key: &String| matches.value_source(key) == Some(ValueSource::CommandLine);
    let flag = |key: String| {
        let values: Vec<&OsStr> = matches.get_raw(&key).into_iter().flatten().collect();
        [OsString::from(format!("--{}", key.replace('_', "-"))), values.join(OsStr::new(","))]
    };
    Ok(keys()?.into_iter().filter(is_given).flat_map(flag).collect())
}

/// Checks that a run started with the options `started` can resume with the options `wanted`. `instead` says what to do
/// if it cannot.
///
/// # Errors
/// If options differ that must not change; the error names them.
pub fn check_resumable(started: &Config, wanted: &Config, instead: impl FnOnce() -> String) -> Result<()> {
    let differences = differences(started, wanted, &CHANGEABLE_ON_RESUME)?;
    if !differences.is_empty() {
        bail!("a run cannot resume with other options: {}. {}", differences.join(", "), instead());
    }
    Ok(())
}

/// Describes the options in which `wanted` differs from `started`, except the `changeable` ones.
///
/// # Errors
/// If an option cannot be written as TOML.
pub fn differences(started: &Config, wanted: &Config, changeable: &[&str]) -> Result<Vec<String>> {
    let (started, wanted) = (Table::try_from(started)?, Table::try_from(wanted)?);
    let differing =
        wanted.iter().filter(|(key, value)| !changeable.contains(&key.as_str()) && started.get(*key) != Some(*value));
    let describe = |(key, value): (&String, &Value)| match started.get(key) {
        Some(started) => format!("{key} = {value} (it was started with {started})"),
        None => format!("{key} = {value} (it was started without)"),
    };
    Ok(differing.map(describe).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{Args, FromArgMatches};

    use super::*;

    #[test]
    fn the_help_shows_the_defaults() {
        let flags = Config::augment_args(clap::Command::new("pretrain")).get_matches_from(["pretrain"]);
        assert_eq!(Config::from_arg_matches(&flags).unwrap(), Config::cifar10());
    }

    #[test]
    fn runs_without_the_option_evaluate_with_all_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let current = toml::to_string(&Config::mini()).unwrap();
        let earlier = current.replace("knn_images = 50000\n", "");
        assert_ne!(current, earlier);
        fs::write(&path, &earlier).unwrap();
        assert_eq!(read(&path).unwrap(), Config { knn_images: 0, ..Config::mini() });
    }

    #[test]
    fn an_integer_multiplier_of_earlier_versions_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let current = toml::to_string(&Config { multiplier: 2.0, ..Config::mini() }).unwrap();
        let earlier = current.replace("multiplier = 2.0", "multiplier = 2");
        assert_ne!(current, earlier);
        fs::write(&path, &earlier).unwrap();
        assert_eq!(read(&path).unwrap(), Config { multiplier: 2.0, ..Config::mini() });
        // Checkpoints store options as JSON.
        assert_eq!(serde_json::from_str::<Config>(r#"{"multiplier":2}"#).unwrap().multiplier, 2.0);
    }
}
