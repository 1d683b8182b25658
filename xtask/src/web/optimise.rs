//! Binaryen's wasm-opt, which makes modules smaller.

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

/// The oldest version of wasm-opt, that of Debian 12: it reads what rustc 1.95 writes. Older ones are not tested.
const OLDEST: u32 = 108;

/// The WebAssembly features that rustc's modules use.
const FEATURES: [&str; 7] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// wasm-opt.
pub struct Optimiser {
    /// The program, and the arguments before those of wasm-opt.
    program: Vec<PathBuf>,
}

impl Optimiser {
    /// Finds npm's wasm-opt, which has the same version on every machine, or else the one in `PATH`.
    ///
    /// # Errors
    /// If there is none; the error says what to install.
    pub fn find() -> Result<Self> {
        if npm::is_installed() {
            let program = PACKAGES.install(STAGE)?.join("node_modules/binaryen/bin/wasm-opt");
            return Ok(Self { program: vec!["node".into(), program] });
        }
        let found = Self { program: vec!["wasm-opt".into()] };
        match found.version() {
            Some(version) if version >= OLDEST => Ok(found),
            Some(version) => bail!("{}, or Binaryen {OLDEST} or later (wasm-opt has version {version})", npm::ADVICE),
            None => bail!("{}, or Binaryen {OLDEST} or later (there is no wasm-opt)", npm::ADVICE),
        }
    }

    /// Optimises a module at `level`, such as `-Oz`, and strips its names. Returns the path of the result.
    ///
    /// # Errors
    /// If wasm-opt fails.
    pub fn optimise(&self, cache: &mut BuildCache, module: &Path, level: &str) -> Result<PathBuf> {
        let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
        let version = self.version().context("wasm-opt prints no version")?.to_string();
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
        let version = String::from_utf8(self.command().arg("--version").output().ok()?.stdout).ok()?;
        version.strip_prefix("wasm-opt version ")?.split_whitespace().next()?.parse().ok()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]);
        command
    }
}
