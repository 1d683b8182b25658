//! `cargo xtask test`: everything that must hold before a change goes in.

mod browser;
mod vulkan;

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{
    browser::{self as chromium, Browser},
    duration::HumanDuration,
    log::{info, timed},
    process::{cargo, is_ci, succeeds},
    python::{self, Python},
    rustup::{self, Needs},
    web::Tools,
};

/// Install what is missing, then check formatting, lints and all tests
///
/// Ends at the first stage that fails, with exit code 1. Everything is built in release mode, as the
/// program itself is, so that one target directory serves both. Tests run under cargo-nextest where it is
/// installed, under `cargo test` otherwise.
#[derive(Args)]
pub struct Test {}

/// One cargo command that must succeed.
struct Stage {
    name: &'static str,
    arguments: &'static [&'static str],
    /// What of rustup's the command cannot do without.
    needs: Option<Needs>,
    /// What it means that the command failed, and what to do.
    failure: &'static str,
}

const FORMATTING: Stage = Stage {
    name: "formatting",
    arguments: &["fmt", "--all", "--check"],
    needs: Some(Needs::Component("rustfmt", "fmt")),
    failure: "the code is not formatted: run `cargo fmt --all`",
};

/// `--all-targets` takes in tests, examples and benches, so that none of them rots unseen.
const LINTS: Stage = Stage {
    name: "lints",
    arguments: &["clippy", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"],
    needs: Some(Needs::Component("clippy", "clippy")),
    failure: "the code does not compile without warnings: see clippy's above",
};

/// What runs in the browser is not seen by the lints of this machine's own build.
const WEB_LINTS: Stage = Stage {
    name: "web lints",
    arguments: &[
        "clippy",
        "--profile",
        "wasm",
        "--target",
        "wasm32-unknown-unknown",
        "--package",
        "slimclr-page",
        "--package",
        "slimclr-worker",
        "--",
        "-D",
        "warnings",
    ],
    needs: Some(rustup::WASM),
    failure: "page and worker do not compile for the browser without warnings: see clippy's above",
};

const TESTS: Stage = Stage {
    name: "tests",
    arguments: &["test", "--workspace", "--release", "--no-fail-fast"],
    needs: None,
    failure: "tests failed: see their names above",
};

/// Nextest leaves out the examples in the documentation. They go first, so that the last line is the count
/// of all other tests.
const DOCUMENTATION_TESTS: Stage = Stage {
    name: "documentation tests",
    arguments: &["test", "--workspace", "--release", "--doc", "--no-fail-fast"],
    needs: None,
    failure: "examples in the documentation failed: see their names above",
};

/// Those that run Python are marked as ignored, so that a plain `cargo test` needs none.
const PYTHON_TESTS: Stage = Stage {
    name: "python tests",
    arguments: &["test", "--workspace", "--release", "--test", "interchange", "--", "--ignored"],
    needs: None,
    failure: "tests of exchange with Python failed: see their names above",
};

const NEXTEST: Stage = Stage { arguments: &["nextest", "run", "--workspace", "--release", "--no-fail-fast"], ..TESTS };

impl Test {
    /// Goes through the stages.
    ///
    /// # Errors
    /// The first stage that fails.
    pub fn run(self) -> Result<()> {
        let start = Instant::now();
        timed("system packages", "a Vulkan driver, for the tests on WebGPU", vulkan::install)?;
        let python = timed("python", "PyTorch and ONNX Runtime, for the tests of interchange", python::install)?;
        let browser = timed("browser", "Chromium and playwright, for the tests of the page", chromium::install)?;
        let mut stages = vec![FORMATTING, LINTS, WEB_LINTS];
        let mut skipped = Vec::new();
        match &python {
            Python::Ready(_) => stages.push(PYTHON_TESTS),
            Python::Absent => skipped.push(PYTHON_TESTS.name),
        }
        if succeeds(cargo().args(["nextest", "--version"])) {
            stages.extend([DOCUMENTATION_TESTS, NEXTEST]);
        } else {
            info("tests", "cargo-nextest is not installed, so `cargo test` runs them");
            stages.push(TESTS);
        }
        for stage in &stages {
            if stage.is_installed()? {
                stage.run(&python)?;
            } else {
                skipped.push(stage.name);
            }
        }
        match (&browser, bundle()?) {
            (Browser::Ready(chromium), Some(bundle)) => {
                timed("browser tests", "the page in Chromium, with and without WebGPU", || {
                    browser::test(chromium, &bundle)
                })?;
            }
            (Browser::Absent(_), Some(_)) => skipped.push("browser tests"),
            (_, None) => skipped.extend(["web bundle", "browser tests"]),
        }
        let elapsed = HumanDuration(start.elapsed());
        if skipped.is_empty() {
            info("test", &format!("everything passed in {elapsed}"));
        } else {
            info("test", &format!("passed in {elapsed}, but NOT CHECKED: {}", skipped.join(", ")));
        }
        Ok(())
    }
}

/// The page's folder; none where it cannot be made for lack of tools, which CI does not forgive.
///
/// # Errors
/// If it cannot be made although the tools are there.
fn bundle() -> Result<Option<PathBuf>> {
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(error) if is_ci() => return Err(error),
        Err(error) => {
            info("web bundle", &format!("SKIPPED: {error:#}"));
            return Ok(None);
        }
    };
    let folder = timed("web bundle", "cargo xtask web", || Ok(tools.make()?.display().to_string()))?;
    Ok(Some(folder.into()))
}

impl Stage {
    /// Whether the command can run, if need be after rustup has added what it needs.
    ///
    /// # Errors
    /// On CI, where a component must not be left out: nobody reads the log of a run that passed. A target may
    /// be, since a machine may reach no server that has it.
    fn is_installed(&self) -> Result<bool> {
        let Some(needs) = self.needs else {
            return Ok(true);
        };
        let Err(advice) = needs.install(self.name) else {
            return Ok(true);
        };
        let must_be_there = matches!(needs, Needs::Component(..)) && is_ci();
        ensure!(!must_be_there, "{} cannot be checked: {advice:#}", self.name);
        info(self.name, &format!("SKIPPED: {advice:#}"));
        Ok(false)
    }

    fn run(&self, python: &Python) -> Result<()> {
        let words = format!("cargo {}", self.arguments.join(" "));
        timed(self.name, &words, || {
            let mut command = cargo();
            if let Python::Ready(interpreter) = python {
                command.env(python::VARIABLE, interpreter);
            }
            let status = command.args(self.arguments).status().context("cargo does not start")?;
            if !status.success() {
                bail!("{}", self.failure);
            }
            Ok("passed")
        })
        .map(drop)
    }
}
