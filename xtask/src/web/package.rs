//! `cargo xtask package`: the JavaScript package, as npm publishes it.

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use clap::Args;

use super::{PAGE, STAGE, Tools, budget, bundle::Bundle, compiler::Module};
use crate::{duration::HumanDuration, log::info, process::workspace};

/// Computes on the CPU. It is built as the page is, so that what both use is compiled once. Burn is compiled for it alone:
/// the worker's has WebGPU, and with it all kernels.
const CPU: Module = Module { name: "cpu", package: "slimclr-package", ..PAGE };

/// Computes on WebGPU. It is built as the worker is, whose Burn it shares.
const WEBGPU: Module = Module {
    name: "webgpu",
    package: "slimclr-package",
    profile: "wasm",
    arguments: &["--features", "webgpu"],
    optimisation: "-Oz",
};

/// Make the JavaScript package, in `package` in cargo's target directory
///
/// Installs what it needs, or says what to install. `npm pack` or `npm publish` in the folder makes a package of it.
#[derive(Args)]
pub struct Package {}

impl Package {
    /// Makes the package and prints its size.
    ///
    /// # Errors
    /// If it cannot be made or is too large.
    pub fn run(self) -> Result<()> {
        let start = Instant::now();
        let folder = Tools::find()?.make_package()?;
        info(STAGE, &format!("{} is ready, in {}", folder.display(), HumanDuration(start.elapsed())));
        Ok(())
    }
}

impl Tools {
    /// Makes the package. Returns its folder.
    ///
    /// # Errors
    /// If something does not compile, or the package is too large.
    pub fn make_package(&self) -> Result<PathBuf> {
        self.assemble("package", &budget::PACKAGE, |bundle, cache| {
            self.add_module(bundle, cache, &CPU)?;
            self.add_module(bundle, cache, &WEBGPU)?;
            add_files(bundle)
        })
    }
}

fn add_files(bundle: &mut Bundle) -> Result<()> {
    let workspace = workspace();
    bundle.folder("", &workspace.join("web/package/js"))?;
    for file in ["package.json", "README.md"] {
        bundle.file(file, workspace.join("web/package").join(file));
    }
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        bundle.file(licence, workspace.join(licence));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_package_has_the_workspaces_version() {
        let text = fs::read_to_string(workspace().join("web/package/package.json")).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&manifest["name"], &manifest["version"]), (&"slimclr".into(), &env!("CARGO_PKG_VERSION").into()));
    }
}
