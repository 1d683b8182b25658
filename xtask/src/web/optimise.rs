//! Binaryen's wasm-opt: the same module, smaller.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{STAGE, build_cache::BuildCache};
use crate::{
    log::info,
    npm,
    process::{run, succeeds},
};

const PACKAGES: npm::Packages = npm::Packages {
    folder: "tools/binaryen",
    package: include_str!("package.json"),
    lock: include_str!("package-lock.json"),
};

/// Debian 12's, which takes all that rustc 1.95 writes; older ones were not tried.
const OLDEST: u32 = 108;

/// What rustc's modules make use of.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// wasm-opt, wherever it is.
pub struct Optimiser {
    /// The program, and what comes before its own arguments.
    program: Vec<PathBuf>,
}

impl Optimiser {
    /// npm's, which is of the same version on every machine, else the one on the path.
    ///
    /// # Errors
    /// If there is none: what to install.
    pub fn find() -> Result<Self> {
        if npm::is_there() {
            let program = PACKAGES.install(STAGE)?.join("node_modules/binaryen/bin/wasm-opt");
            return Ok(Self { program: vec!["node".into(), program] });
        }
        let found = Self { program: vec!["wasm-opt".into()] };
        match found.version() {
            Some(version) if version >= OLDEST => Ok(found),
            Some(version) => bail!(
                "there is no Node.js 20 or later with npm, and wasm-opt is of version {version}: install Node.js, or Binaryen \
                 {OLDEST} or later"
            ),
            None => {
                bail!(
                    "there is neither Node.js 20 or later with npm nor wasm-opt: install Node.js, or Binaryen {OLDEST} or later"
                )
            }
        }
    }

    /// The module after the passes of `level`, such as `-Oz`, and without names.
    ///
    /// # Errors
    /// If wasm-opt does not take the module.
    pub fn optimise(&self, cache: &mut BuildCache, module: &Path, level: &str) -> Result<PathBuf> {
        let bytes = fs::read(module).with_context(|| format!("{} cannot be read", module.display()))?;
        let version = self.version().context("wasm-opt names no version")?.to_string();
        cache.get(&[b"wasm-opt", version.as_bytes(), level.as_bytes(), &bytes], |optimised| {
            info(STAGE, &format!("wasm-opt {level}: {:.1} MB", bytes.len() as f64 / 1e6));
            let mut command = self.command();
            command.args([level, "--strip-debug", "--strip-producers", "--strip-target-features"]);
            run(command.args(FEATURES).arg(module).arg("--output").arg(optimised))
        })
    }

    fn version(&self) -> Option<u32> {
        let mut command = self.command();
        if !succeeds(command.arg("--version")) {
            return None;
        }
        let words = String::from_utf8(self.command().arg("--version").output().ok()?.stdout).ok()?;
        words.strip_prefix("wasm-opt version ")?.split_whitespace().next()?.parse().ok()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]);
        command
    }
}
