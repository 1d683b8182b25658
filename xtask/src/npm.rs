//! Packages of npm, beside cargo's builds and never in the checkout.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    announce::say,
    process::{run, succeeds},
    sealed::Sealed,
};

/// What a `package.json` asks for, and its `package-lock.json`.
pub struct Packages {
    /// Of the folder in cargo's target directory.
    pub folder: &'static str,
    pub package: &'static str,
    pub lock: &'static str,
}

/// Whether there is a Node.js with npm.
pub fn is_there() -> bool {
    succeeds(Command::new("node").arg("--version")) && succeeds(npm().arg("--version"))
}

impl Packages {
    /// The folder with the packages in its `node_modules`.
    ///
    /// # Errors
    /// If npm cannot install them.
    pub fn install(&self, stage: &str) -> Result<PathBuf> {
        Sealed::folder(self.folder, self.lock, |folder| self.make(stage, folder))
    }

    fn make(&self, stage: &str, folder: &Path) -> Result<()> {
        say(stage, &format!("npm ci in {}", folder.display()));
        fs::write(folder.join("package.json"), self.package)?;
        fs::write(folder.join("package-lock.json"), self.lock)?;
        run(npm().args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder))
            .context("npm cannot install its packages: see its words above (it needs a network)")
    }
}

fn npm() -> Command {
    Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" })
}
