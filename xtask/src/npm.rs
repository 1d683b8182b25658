//! Packages of npm, installed in cargo's target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    log::info,
    process::{run, succeeds},
    stamped_dir::StampedDir,
};

/// A `package.json` and its `package-lock.json`.
pub struct Packages {
    /// The path of the packages in cargo's target directory.
    pub folder: &'static str,
    pub package: &'static str,
    pub lock: &'static str,
}

/// The oldest version of Node.js that the packages run on.
const OLDEST: u32 = 20;

/// What to do where [`is_installed`] returns false.
pub const ADVICE: &str = "there is no Node.js 20 or later with npm: install it";

/// Returns whether there is a Node.js that is new enough, and npm.
pub fn is_installed() -> bool {
    let output = Command::new("node").arg("--version").output();
    let version = output.ok().and_then(|output| major(&String::from_utf8_lossy(&output.stdout)));
    version.is_some_and(|version| version >= OLDEST) && succeeds(npm().arg("--version"))
}

/// Returns 20 for `v20.1.2`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

impl Packages {
    /// Returns the folder whose `node_modules` has the packages, after installing them if need be.
    ///
    /// # Errors
    /// If npm cannot install them.
    pub fn install(&self, stage: &str) -> Result<PathBuf> {
        StampedDir::get(self.folder, self.lock, |folder| self.make(stage, folder))
    }

    fn make(&self, stage: &str, folder: &Path) -> Result<()> {
        info(stage, &format!("npm ci in {}", folder.display()));
        fs::write(folder.join("package.json"), self.package)?;
        fs::write(folder.join("package-lock.json"), self.lock)?;
        run(npm().args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder))
            .context("npm cannot install its packages: see its message above (it needs a network)")
    }
}

fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_comes_first() {
        assert_eq!(major("v20.19.2\n"), Some(20));
        assert_eq!(major(""), None);
    }
}
