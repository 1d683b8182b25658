//! A run's options: a preset, then a TOML file, then the flags that were given.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, parser::ValueSource};
use slimclr_core::config::Config;
use toml::Table;

/// Named sets of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// A small network for a few minutes on a laptop
    Mini,
    /// ResNet-20 on CIFAR-10 by MoCo v2, 200 epochs
    Cifar10,
    /// ResNet-20 on CIFAR-10 by MoCo v3, 200 epochs
    Cifar10Mocov3,
    /// ResNet-50 on ImageNet by MoCo v2, 200 epochs
    ImagenetMocov2,
    /// ResNet-50 on ImageNet by MoCo v3, 300 epochs
    ImagenetMocov3,
    /// ResNet-50 on ImageNet with labels, 100 epochs: the slimmable network that the paper compares with
    ImagenetSupervised,
}

impl Preset {
    /// The options it stands for.
    pub fn config(self) -> Config {
        match self {
            Self::Mini => Config::mini(),
            Self::Cifar10 => Config::cifar10(),
            Self::Cifar10Mocov3 => Config::cifar10_mocov3(),
            Self::ImagenetMocov2 => Config::imagenet_mocov2(),
            Self::ImagenetMocov3 => Config::imagenet_mocov3(),
            Self::ImagenetSupervised => Config::imagenet_supervised(),
        }
    }

    /// As it is written on the command line.
    pub fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self).expect("no preset is hidden");
        value.get_name().to_owned()
    }
}

/// Options that a run may change when it goes on: they say where and how often, not what is trained.
const FREE_ON_RESUME: [&str; 5] = ["device", "evaluate_every", "checkpoint_every", "knn", "recompute"];

/// Options that the first version's runs did not have.
const SINCE_VERSION_2: [&str; 13] = [
    "method",
    "key_momentum_rises",
    "disjoint",
    "hidden",
    "accumulate",
    "recompute",
    "optimizer",
    "slim_rate_factor",
    "clip_norm",
    "precision",
    "init",
    "surgery",
    "interference",
];

/// Reads a whole set of options.
///
/// # Errors
/// If the file is missing, is no TOML, or has unknown or missing keys.
pub fn read(path: &Path) -> Result<Config> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let table: Table = text.parse().with_context(|| format!("{} is not valid TOML", path.display()))?;
    let is_missing = |key: &&String| !table.contains_key(*key) && !SINCE_VERSION_2.contains(&key.as_str());
    if let Some(key) = Table::try_from(Config::default())?.keys().find(is_missing) {
        bail!("{} is not whole: it lacks the option '{key}'", path.display());
    }
    table.try_into().with_context(|| format!("{} is not a valid configuration", path.display()))
}

/// `base`, changed by the keys of the TOML file `file`, then by the flags that were given on the command line.
///
/// # Errors
/// If the file cannot be read or has an unknown key, or an option has an impossible value.
pub fn merge(base: &Config, file: Option<&Path>, flags: &Config, matches: &ArgMatches) -> Result<Config> {
    let mut table = Table::try_from(base)?;
    if let Some(path) = file {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let changes: Table = text.parse().with_context(|| format!("{} is not valid TOML", path.display()))?;
        for (key, value) in changes {
            if !table.contains_key(&key) {
                bail!("{}: there is no option '{key}'; those there are: {}", path.display(), known(&table));
            }
            table.insert(key, value);
        }
        let _: Config =
            table.clone().try_into().with_context(|| format!("{} has a value of the wrong kind", path.display()))?;
    }
    for (key, value) in Table::try_from(flags)? {
        if matches.value_source(&key) == Some(ValueSource::CommandLine) {
            table.insert(key, value);
        }
    }
    let config: Config = table.try_into().context("the configuration has a value of the wrong kind")?;
    config.check()?;
    Ok(config)
}

/// Refuses to go on with other options than the run began with.
///
/// # Errors
/// Naming the options that differ.
pub fn check_resumable(begun: &Config, wanted: &Config) -> Result<()> {
    let contradictions = differences(begun, wanted, &FREE_ON_RESUME)?;
    if !contradictions.is_empty() {
        bail!("these options contradict the run: {}; begin a new run for them", contradictions.join(", "));
    }
    Ok(())
}

/// The options in which `wanted` differs from those that something began with, but for the `free` ones.
///
/// # Errors
/// If an option has no TOML.
pub fn differences(begun: &Config, wanted: &Config, free: &[&str]) -> Result<Vec<String>> {
    let (begun, wanted) = (Table::try_from(begun)?, Table::try_from(wanted)?);
    let differing =
        wanted.iter().filter(|(key, value)| !free.contains(&key.as_str()) && begun.get(*key) != Some(*value));
    Ok(differing.map(|(key, value)| format!("{key} = {value} (it was begun with {})", begun[key])).collect())
}

fn known(table: &Table) -> String {
    table.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    #[test]
    fn the_help_shows_the_defaults() {
        let flags = Config::augment_args(clap::Command::new("pretrain")).get_matches_from(["pretrain"]);
        assert_eq!(Config::from_arg_matches(&flags).unwrap(), Config::cifar10());
    }

    #[test]
    fn a_multiplier_was_a_whole_number_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let now = toml::to_string(&Config { multiplier: 2.0, ..Config::mini() }).unwrap();
        let then = now.replace("multiplier = 2.0", "multiplier = 2");
        assert_ne!(now, then);
        fs::write(&path, &then).unwrap();
        assert_eq!(read(&path).unwrap(), Config { multiplier: 2.0, ..Config::mini() });
        // A checkpoint has its options as JSON.
        assert_eq!(serde_json::from_str::<Config>(r#"{"multiplier":2}"#).unwrap().multiplier, 2.0);
    }
}
