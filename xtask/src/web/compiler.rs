//! What compiles Rust for the browser: rustup's own toolchain, else Debian's.

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

/// Leptos then has one type for all components' views, in place of code for each.
const SMALLER_VIEWS: &str = r#"target.wasm32-unknown-unknown.rustflags = ["--cfg", "erase_components"]"#;

/// Of Debian: a compiler new enough, its cargo, and the standard library's source.
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A cargo that compiles for the browser.
pub enum Compiler {
    /// With the target's standard library.
    Rustup,
    /// Debian's, which has the standard library as source only, and no linker.
    Debian {
        /// rustup's toolchain has one.
        linker: PathBuf,
    },
}

/// The two modules as they come from the compiler.
pub struct Compiled {
    pub page: PathBuf,
    pub worker: PathBuf,
}

impl Compiler {
    /// The best one there is, installed where that can be done from here.
    ///
    /// # Errors
    /// If there is none: what to install.
    pub fn find() -> Result<Self> {
        let Err(without_target) = rustup::WASM.install(STAGE) else {
            return Ok(Self::Rustup);
        };
        info(STAGE, &format!("{without_target:#}; going on with Debian's {}", PACKAGES.join(", ")));
        if !has_debians() {
            ensure!(apt::is_allowed(), "{without_target:#}, or Debian's packages {}", PACKAGES.join(", "));
            apt::install(STAGE, &PACKAGES).with_context(|| format!("{without_target:#}"))?;
            ensure!(has_debians(), "{} are installed, but /usr/bin/rustc is not theirs", PACKAGES.join(", "));
        }
        Ok(Self::Debian { linker: linker()? })
    }

    /// Compiles page and worker; cargo says how far it has come.
    ///
    /// Each by itself: in one call with the worker, the page would have all that the worker asks of Burn, above all its
    /// GPU backend, megabytes that nothing in the page ever calls.
    ///
    /// # Errors
    /// If they do not compile.
    pub fn compile(&self) -> Result<Compiled> {
        let folder = target_directory()?.join(TRIPLE);
        self.build("slimclr-page", "page", &["--config", SMALLER_VIEWS])?;
        self.build("slimclr-worker", "wasm", &[])?;
        Ok(Compiled { page: folder.join("page/slimclr_page.wasm"), worker: folder.join("wasm/slimclr_worker.wasm") })
    }

    fn build(&self, package: &str, profile: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.cargo();
        run(command.args(["--profile", profile, "--target", TRIPLE, "--package", package]).args(arguments))
            .with_context(|| format!("{package} cannot be built: see cargo's words above"))
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

/// Whether Debian's compiler has its standard library's source: that of the older package `rustc` has not.
fn has_debians() -> bool {
    sysroot("/usr/bin/rustc").is_ok_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/std").is_dir())
        && Path::new("/usr/bin/cargo").exists()
}

/// rustup's linker for WebAssembly.
fn linker() -> Result<PathBuf> {
    let host = Command::new("rustc").arg("-vV").output().context("rustc does not start")?;
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let linker = sysroot("rustc")?.join("lib/rustlib").join(host).join("bin/rust-lld");
    ensure!(linker.exists(), "no linker for {TRIPLE}: {} is missing", linker.display());
    Ok(linker)
}

fn sysroot(rustc: &str) -> Result<PathBuf> {
    let asked = Command::new(rustc).args(["--print", "sysroot"]).output()?;
    ensure!(asked.status.success(), "{rustc} names no sysroot");
    Ok(String::from_utf8_lossy(&asked.stdout).trim().into())
}
