//! Packages of npm, beside cargo's builds and never in the checkout.

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

/// What a `package.json` asks for, and its `package-lock.json`.
pub struct Packages {
    /// Of the folder in cargo's target directory.
    pub folder: &'static str,
    pub package: &'static str,
    pub lock: &'static str,
}

/// Older ones lack what the packages need.
const OLDEST: u32 = 20;

/// Whether there is a Node.js, new enough, with npm.
pub fn is_there() -> bool {
    let version = Command::new("node").arg("--version").output();
    let version = version.ok().and_then(|asked| major(&String::from_utf8_lossy(&asked.stdout)));
    version.is_some_and(|version| version >= OLDEST) && succeeds(npm().arg("--version"))
}

/// Of `v20.1.2`, 20.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

impl Packages {
    /// The folder with the packages in its `node_modules`.
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
            .context("npm cannot install its packages: see its words above (it needs a network)")
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
