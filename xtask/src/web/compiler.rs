//! The compiler of Rust for the browser: rustup's toolchain, or else Debian's.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::STAGE;
use crate::{
    apt,
    log::info,
    process::{as_from_shell, cargo, run, target_directory},
    rustup,
};

const TRIPLE: &str = "wasm32-unknown-unknown";

/// Debian's packages of a compiler that is new enough, its cargo, and the source of the standard library.
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A cargo that compiles for the browser.
pub enum Compiler {
    /// rustup's, with the target's standard library.
    Rustup,
    /// Debian's, which has the standard library as source only, and no linker.
    Debian {
        /// That of rustup's toolchain.
        linker: PathBuf,
    },
}

/// A crate that becomes a module.
pub struct Module {
    /// The name of its files in the bundle: `name.js`, `name_bg.wasm`.
    pub name: &'static str,
    /// The crate.
    pub package: &'static str,
    /// The profile of cargo.
    pub profile: &'static str,
    /// Further arguments of cargo.
    pub arguments: &'static [&'static str],
    /// The level of wasm-opt, such as `-Oz`.
    pub optimisation: &'static str,
}

impl Compiler {
    /// Finds a compiler, after installing it if need be.
    ///
    /// # Errors
    /// If there is none; the error says what to install.
    pub fn find() -> Result<Self> {
        let Err(without_target) = rustup::WASM.install(STAGE) else {
            return Ok(Self::Rustup);
        };
        info(STAGE, &format!("{without_target:#}; trying Debian's {}", PACKAGES.join(", ")));
        if !has_debians() {
            ensure!(apt::is_allowed(), "{without_target:#}, or Debian's packages {}", PACKAGES.join(", "));
            apt::install(STAGE, &PACKAGES).with_context(|| format!("{without_target:#}"))?;
            ensure!(
                has_debians(),
                "{} are installed, but /usr/bin/rustc belongs to another package",
                PACKAGES.join(", ")
            );
        }
        Ok(Self::Debian { linker: linker()? })
    }

    /// Compiles a module. Returns its path.
    ///
    /// # Errors
    /// If it does not compile.
    pub fn compile(&self, module: &Module) -> Result<PathBuf> {
        let Module { package, profile, arguments, .. } = *module;
        let mut command = self.cargo();
        run(command.args(["--profile", profile, "--target", TRIPLE, "--package", package]).args(arguments))
            .with_context(|| format!("{package} cannot be built: see cargo's messages above"))?;
        Ok(target_directory()?.join(TRIPLE).join(profile).join(format!("{}.wasm", package.replace('-', "_"))))
    }

    fn cargo(&self) -> Command {
        match self {
            Self::Rustup => {
                let mut command = cargo();
                command.arg("build");
                command
            }
            Self::Debian { linker } => {
                let mut command = as_from_shell("/usr/bin/cargo");
                command
                    .args(["build", "-Z", "build-std=std,panic_abort"])
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                    .env_remove("CARGO")
                    .env_remove("RUSTUP_TOOLCHAIN");
                command
            }
        }
    }
}

/// Returns whether Debian's compiler has the source of its standard library; that of the older package `rustc` has not.
fn has_debians() -> bool {
    sysroot("/usr/bin/rustc").is_ok_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/std").is_dir())
        && Path::new("/usr/bin/cargo").exists()
}

/// Returns the path of rustup's linker for WebAssembly.
fn linker() -> Result<PathBuf> {
    let host = Command::new("rustc").arg("-vV").output().context("rustc does not start")?;
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc prints no host")?;
    let linker = sysroot("rustc")?.join("lib/rustlib").join(host).join("bin/rust-lld");
    ensure!(linker.exists(), "there is no linker for {TRIPLE}: {} is missing", linker.display());
    Ok(linker)
}

fn sysroot(rustc: &str) -> Result<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output()?;
    ensure!(output.status.success(), "{rustc} prints no sysroot");
    Ok(String::from_utf8_lossy(&output.stdout).trim().into())
}
