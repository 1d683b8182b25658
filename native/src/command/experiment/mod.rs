//! `slimclr experiment`: runs, resumes and tabulates comparisons on CIFAR-10.

pub mod cifar10;
pub mod methods;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{ArgMatches, Args, ValueEnum};
use slimclr_core::config::Config;

use crate::{
    data::cifar10::FOLDER,
    experiment::{self, protocol},
    options::{self, Preset},
};

/// Flags that experiments have in common.
#[derive(Args)]
#[command(mut_arg("data", |data| data
    .default_value(FOLDER)
    .help_heading(None::<&str>)
    .help("Images: a folder of CIFAR-10 batches, or 'embedded' for the subset in the program")))]
#[command(mut_arg("device", |device| device.help_heading(None::<&str>)))]
struct CommonFlags {
    /// Preset to start from; the defaults shown below are those of 'cifar10'
    #[arg(long, value_enum, default_value = "protocol")]
    preset: Scale,
    /// Arms to run now, separated by commas [default: all]
    #[arg(long, value_name = "ARM,…", value_delimiter = ',')]
    arms: Vec<String>,
    /// Seeds, separated by commas: each arm is trained once per seed, a teacher only once
    #[arg(long, value_name = "SEED,…", value_delimiter = ',', default_value = "0")]
    seeds: Vec<u64>,
    /// Train on a class-balanced subset of this many images; evaluation uses all test images [default:
    /// 20,000 with the preset 'protocol', or else all]
    #[arg(long)]
    images: Option<usize>,
    /// Folder for the experiment: tables (results.md, results.json), figures, and a run's folder for each arm
    #[arg(long, value_name = "FOLDER", default_value = "runs/experiment")]
    out: PathBuf,
    #[command(flatten)]
    options: Config,
}

/// Presets for CIFAR-10.
#[derive(Clone, Copy, ValueEnum)]
enum Scale {
    /// ResNet-8, a few epochs: the protocol of the published results (docs/protocol.md)
    Protocol,
    /// ResNet-8, 30 epochs
    Mini,
    /// ResNet-20, 200 epochs
    Cifar10,
}

impl CommonFlags {
    /// Returns the options of the experiment: the preset's, and those of `given` that are on the command line.
    ///
    /// # Errors
    /// If one is not valid, or a seed is named twice.
    fn options(&self, given: &Config, matches: &ArgMatches) -> Result<experiment::Options> {
        once("--seeds", &self.seeds)?;
        let (preset, images) = match self.preset {
            Scale::Protocol => (protocol::config(), Some(protocol::IMAGES)),
            Scale::Mini => (Preset::Mini.config(), None),
            Scale::Cifar10 => (Preset::Cifar10.config(), None),
        };
        let base = Config { data: FOLDER.into(), ..preset };
        let options = options::merge(&base, None, given, matches)?;
        Ok(experiment::Options { images: self.images.or(images), options })
    }
}

/// Checks that a list has nothing twice.
fn once<T: PartialEq + std::fmt::Debug>(flag: &str, list: &[T]) -> Result<()> {
    let twice = list.iter().enumerate().find(|(index, value)| list[..*index].contains(value));
    match twice {
        Some((_, value)) => bail!("{flag} has {value:?} twice: name each once"),
        None => Ok(()),
    }
}
