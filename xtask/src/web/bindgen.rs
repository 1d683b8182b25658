//! wasm-bindgen: the JavaScript between a module and the browser.

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

/// The program, of the version of the library that the modules were compiled with: any other refuses them.
pub struct Bindgen {
    program: PathBuf,
    version: String,
}

impl Bindgen {
    /// The one on the path if it is of the right version, else one of our own, which cargo compiles once.
    ///
    /// # Errors
    /// If it does not compile.
    pub fn find() -> Result<Self> {
        let lock = fs::read_to_string(workspace().join("Cargo.lock")).context("Cargo.lock cannot be read")?;
        let version = locked_version(&lock, "wasm-bindgen").context("Cargo.lock names no wasm-bindgen")?;
        let tools = target_directory()?.join("tools");
        let own = tools.join("bin/wasm-bindgen");
        for program in [Path::new("wasm-bindgen"), &own] {
            if is_version(program, version) {
                return Ok(Self { program: program.into(), version: version.into() });
            }
        }
        info(STAGE, &format!("wasm-bindgen {version} is not there: cargo installs it, some five minutes, once"));
        fs::create_dir_all(&tools)?;
        let builds = tempfile::tempdir_in(&tools)?;
        let installed = run(cargo()
            .args(["install", "wasm-bindgen-cli", "--force", "--version", version, "--root"])
            .arg(&tools)
            .arg("--target-dir")
            .arg(builds.path()));
        installed.context("cargo cannot install wasm-bindgen-cli: see its words above")?;
        Ok(Self { program: own, version: version.into() })
    }

    /// A folder with `name.js`, `name_bg.wasm`, and `snippets` where there are any.
    ///
    /// # Errors
    /// If wasm-bindgen does not take the module.
    pub fn bind(&self, cache: &mut BuildCache, module: &Path, name: &str) -> Result<PathBuf> {
        let bytes = fs::read(module).with_context(|| format!("{} cannot be read", module.display()))?;
        cache.get(&[b"bindgen", self.version.as_bytes(), name.as_bytes(), &bytes], |folder| {
            info(STAGE, &format!("wasm-bindgen: {name}"));
            let mut command = Command::new(&self.program);
            command.args(["--target", "web", "--no-typescript", "--remove-producers-section", "--out-name", name]);
            run(command.arg("--out-dir").arg(folder).arg(module))
        })
    }
}

fn is_version(program: &Path, version: &str) -> bool {
    let asked = Command::new(program).arg("--version").output();
    asked.is_ok_and(|asked| asked.stdout.trim_ascii() == format!("wasm-bindgen {version}").as_bytes())
}

/// The version of a package in a `Cargo.lock`.
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
    fn the_version_is_that_of_the_very_package() {
        let lock = "version = 4\n\n[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.1\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"registry\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(lock, "burn"), None);
    }
}
