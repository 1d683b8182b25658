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
    /// A component, and the subcommand of cargo that it brings.
    Component(&'static str, &'static str),
    /// Another machine's standard library.
    Target(&'static str),
}

/// What runs in the browser is compiled for it.
pub const WASM: Needs = Needs::Target("wasm32-unknown-unknown");

impl Needs {
    /// Makes sure that it is there, if need be by rustup.
    ///
    /// # Errors
    /// If it is not there and cannot be added from here.
    pub fn install(self, stage: &str) -> Result<()> {
        if self.is_there() {
            return Ok(());
        }
        let [kind, name] = match self {
            Self::Component(name, _) => ["component", name],
            Self::Target(name) => ["target", name],
        };
        info(stage, &format!("missing here, so: rustup {kind} add {name}"));
        let added = Command::new("rustup").args([kind, "add", name]).status();
        if added.is_ok_and(|status| status.success()) && self.is_there() {
            return Ok(());
        }
        bail!("`rustup {kind} add {name}` failed: install {name} by hand")
    }

    fn is_there(self) -> bool {
        match self {
            Self::Component(_, subcommand) => succeeds(cargo().args([subcommand, "--version"])),
            Self::Target(name) => {
                let mut ask = Command::new("rustc");
                let folder = ask.args(["--print", "target-libdir", "--target", name]).stderr(Stdio::null()).output();
                folder.is_ok_and(|folder| Path::new(String::from_utf8_lossy(&folder.stdout).trim()).is_dir())
            }
        }
    }
}
