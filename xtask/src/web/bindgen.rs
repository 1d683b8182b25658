//! wasm-bindgen, which writes the JavaScript between a module and the browser.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{STAGE, build_cache::BuildCache};
use crate::{
    log::info,
    process::{cargo, run, target_directory, workspace},
};

/// The program. It needs the version of the library that the modules were compiled with.
pub struct Bindgen {
    program: PathBuf,
    version: String,
}

impl Bindgen {
    /// Finds the program in `PATH` if it has the right version, or else installs it in cargo's target directory.
    ///
    /// # Errors
    /// If cargo cannot install it.
    pub fn find() -> Result<Self> {
        let lock = fs::read_to_string(workspace().join("Cargo.lock")).context("cannot read Cargo.lock")?;
        let version = locked_version(&lock, "wasm-bindgen").context("Cargo.lock has no wasm-bindgen")?;
        let tools = target_directory()?.join("tools");
        let installed = tools.join("bin/wasm-bindgen");
        for program in [Path::new("wasm-bindgen"), &installed] {
            if is_version(program, version) {
                return Ok(Self { program: program.into(), version: version.into() });
            }
        }
        info(STAGE, &format!("cargo installs wasm-bindgen {version}: about five minutes, once"));
        fs::create_dir_all(&tools)?;
        let builds = tempfile::tempdir_in(&tools)?;
        let result = run(cargo()
            .args(["install", "wasm-bindgen-cli", "--force", "--version", version, "--root"])
            .arg(&tools)
            .arg("--target-dir")
            .arg(builds.path()));
        result.context("cargo cannot install wasm-bindgen-cli: see its messages above")?;
        Ok(Self { program: installed, version: version.into() })
    }

    /// Returns a folder with `name.js`, `name_bg.wasm` and, if there are any, `snippets`.
    ///
    /// # Errors
    /// If wasm-bindgen fails.
    pub fn bind(&self, cache: &mut BuildCache, module: &Path, name: &str) -> Result<PathBuf> {
        let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
        cache.get(&[b"bindgen", self.version.as_bytes(), name.as_bytes(), &bytes], |folder| {
            info(STAGE, &format!("wasm-bindgen: {name}"));
            let mut command = Command::new(&self.program);
            command.args(["--target", "web", "--no-typescript", "--remove-producers-section", "--out-name", name]);
            run(command.arg("--out-dir").arg(folder).arg(module))
        })
    }
}

fn is_version(program: &Path, version: &str) -> bool {
    let output = Command::new(program).arg("--version").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == format!("wasm-bindgen {version}").as_bytes())
}

/// Returns the version of a package in a `Cargo.lock`.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let entry = format!("name = \"{package}\"\n");
    lock.split("[[package]]\n")
        .find_map(|package| package.strip_prefix(&entry))?
        .strip_prefix("version = \"")?
        .split('"')
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_package_with_exactly_this_name() {
        let lock = "version = 4\n\n[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.1\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"registry\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(lock, "burn"), None);
    }
}
