//! What rustup installs.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::{
    log::info,
    process::{cargo, succeeds},
};

/// Something that rustup installs.
#[derive(Clone, Copy)]
pub enum Needs {
    /// A component, and the subcommand of cargo that it adds.
    Component(&'static str, &'static str),
    /// The standard library of another target.
    Target(&'static str),
}

/// The target of the browser.
pub const WASM: Needs = Needs::Target("wasm32-unknown-unknown");

impl Needs {
    /// Adds it by rustup if it is missing.
    ///
    /// # Errors
    /// If it is missing and rustup cannot add it.
    pub fn install(self, stage: &str) -> Result<()> {
        if self.is_installed() {
            return Ok(());
        }
        let [kind, name] = match self {
            Self::Component(name, _) => ["component", name],
            Self::Target(name) => ["target", name],
        };
        info(stage, &format!("rustup {kind} add {name}"));
        let added = Command::new("rustup").args([kind, "add", name]).status();
        if added.is_ok_and(|status| status.success()) && self.is_installed() {
            return Ok(());
        }
        bail!("`rustup {kind} add {name}` failed: install {name} by hand")
    }

    fn is_installed(self) -> bool {
        match self {
            Self::Component(_, subcommand) => succeeds(cargo().args([subcommand, "--version"])),
            Self::Target(name) => {
                let mut rustc = Command::new("rustc");
                let folder = rustc.args(["--print", "target-libdir", "--target", name]).stderr(Stdio::null()).output();
                folder.is_ok_and(|folder| Path::new(String::from_utf8_lossy(&folder.stdout).trim()).is_dir())
            }
        }
    }
}
