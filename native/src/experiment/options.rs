//! The options of an experiment, which it keeps in its folder.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use slimclr_core::config::Config;

use crate::{
    files::{create_folder, write_atomically},
    options,
};

/// File name of an experiment's options.
const FILE: &str = "experiment.toml";
/// Options that may change when an experiment resumes. `knn` and `evaluate_every` must not: results must be comparable. The
/// images under another path are compared with those of each arm.
const CHANGEABLE_ON_RESUME: [&str; 3] = ["data", "device", "checkpoint_every"];

/// An experiment's options, which must not change when it resumes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Number of training images; all if `None`.
    pub images: Option<usize>,
    /// Options that the arms share.
    pub options: Config,
}

impl Options {
    /// Saves the options in the experiment's folder, or checks them against those saved there.
    ///
    /// # Errors
    /// If the saved ones differ, or the file cannot be read or written.
    pub fn save_or_check(&self, out: &Path) -> Result<()> {
        let path = out.join(FILE);
        if !path.exists() {
            create_folder(out)?;
            return write_atomically(&path, toml::to_string(self)?.as_bytes());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let saved: Self =
            toml::from_str(&text).with_context(|| format!("{} is not an experiment's options", path.display()))?;
        let mut differences = options::differences(&saved.options, &self.options, &CHANGEABLE_ON_RESUME)?;
        if saved.images != self.images {
            let [wanted, started] =
                [self, &saved].map(|it| it.images.map_or_else(|| "all".to_owned(), |images| images.to_string()));
            differences.push(format!("images = {wanted} (it was started with {started})"));
        }
        if !differences.is_empty() {
            bail!(
                "{} holds an experiment with other options: {}; choose another folder with --out",
                out.display(),
                differences.join(", ")
            );
        }
        Ok(())
    }
}
