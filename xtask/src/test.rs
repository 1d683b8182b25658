//! `cargo xtask test`: everything that must pass before a change is merged.

mod browser;
mod mpi;
mod report;
mod vulkan;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::report::{Outcome, Report};
use crate::{
    browser as chromium,
    log::info,
    process::{cargo, is_ci, succeeds},
    python::{self, Environment},
    rustup::{self, Needs},
    tool::Tool,
    web::Tools,
};

/// Check formatting, lints and all tests
///
/// Installs what they need. Runs all stages, the quick ones first, even after one has failed, and prints a table of
/// their results. The exit code is 1 if a stage failed. A stage is left out where what it needs cannot be installed; on
/// CI ($CI), that is a failure of formatting, lints and the web bundle. Everything is built in release mode, as the
/// program itself is, so that one target directory serves both. Tests run under cargo-nextest if it is installed, else
/// under `cargo test`.
#[derive(Args)]
pub struct Test {
    /// Compare with PyTorch too, which downloads 3 GB once
    #[arg(long)]
    pytorch: bool,
}

/// A cargo command that must succeed.
struct Stage {
    name: &'static str,
    arguments: &'static [&'static str],
    /// What the command needs from rustup.
    needs: Option<Needs>,
    /// What a failure means, and what to do.
    failure: &'static str,
}

const FORMATTING: Stage = Stage {
    name: "formatting",
    arguments: &["fmt", "--all", "--check"],
    needs: Some(Needs::Component("rustfmt", "fmt")),
    failure: "the code is not formatted: run `cargo fmt --all`",
};

/// `--all-targets` includes tests, examples and benches.
const LINTS: Stage = Stage {
    name: "lints",
    arguments: &["clippy", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"],
    needs: Some(Needs::Component("clippy", "clippy")),
    failure: "the code does not compile without warnings: see clippy's messages above",
};

/// The lints of the native build do not see code that is compiled for the browser only.
const WEB_LINTS: Stage = Stage {
    name: "web lints",
    arguments: &[
        "clippy",
        "--profile",
        "wasm",
        "--target",
        "wasm32-unknown-unknown",
        "--package",
        "slimclr-package",
        "--package",
        "slimclr-page",
        "--package",
        "slimclr-worker",
        "--",
        "-D",
        "warnings",
    ],
    needs: Some(rustup::WASM),
    failure: "page, worker and package do not compile for the browser without warnings: see clippy's messages above",
};

/// `cargo test` runs the examples in the documentation too.
const TESTS: Stage = Stage {
    name: "tests",
    arguments: &["test", "--workspace", "--release", "--no-fail-fast"],
    needs: None,
    failure: "tests failed: see their names above",
};

const NEXTEST: Stage = Stage { arguments: &["nextest", "run", "--workspace", "--release", "--no-fail-fast"], ..TESTS };

/// Nextest leaves out the examples in the documentation.
const DOCUMENTATION_TESTS: Stage = Stage {
    name: "documentation tests",
    arguments: &["test", "--workspace", "--release", "--doc", "--no-fail-fast"],
    needs: None,
    failure: "examples in the documentation failed: see their names above",
};

/// Returns the arguments for the tests of the interchange whose names begin with `filter`. They run Python and are marked
/// as ignored, so that `cargo test` needs none.
const fn tests_with_python(filter: &'static str) -> [&'static str; 9] {
    ["test", "--workspace", "--release", "--test", "interchange", "--no-fail-fast", "--", "--ignored", filter]
}

const EXPORTS: Stage = Stage {
    name: "exports",
    arguments: &tests_with_python("onnx_runtime::"),
    needs: None,
    failure: "ONNX Runtime disagrees with this program: see the names of the tests above",
};

const TENSORBOARD: Stage = Stage {
    name: "TensorBoard",
    arguments: &tests_with_python("tensorboard::"),
    needs: None,
    failure: "TensorBoard reads something else than this program wrote: see the names of the tests above",
};

/// The feature changes no other crate, so only the program is compiled again.
const PROCESSES: Stage = Stage {
    name: "several processes",
    arguments: &[
        "test",
        "--workspace",
        "--release",
        "--features",
        "slimclr/mpi",
        "--test",
        "mpi",
        "--no-fail-fast",
        "--",
        "--test-threads",
        "1",
    ],
    needs: None,
    failure: "processes that train together differ from one, or do not end together: see the names of the tests above",
};

const PYTORCH: Stage = Stage {
    name: "PyTorch",
    arguments: &tests_with_python("pytorch::"),
    needs: None,
    failure: "PyTorch disagrees with this program: see the names of the tests above",
};

impl Test {
    /// Runs the stages and prints their results.
    ///
    /// # Errors
    /// If a stage fails.
    pub fn run(self) -> Result<()> {
        let mut report = Report::new();
        FORMATTING.run(&mut report);
        report.stage("Vulkan driver", "for the tests on WebGPU", || {
            info("Vulkan driver", &vulkan::install("Vulkan driver")?);
            Ok(Outcome::Passed(()))
        });
        LINTS.run(&mut report);
        WEB_LINTS.run(&mut report);
        if succeeds(cargo().args(["nextest", "--version"])) {
            DOCUMENTATION_TESTS.run(&mut report);
            NEXTEST.run(&mut report);
        } else {
            TESTS.run(&mut report);
        }
        PROCESSES.report(&mut report, || match mpi::install(PROCESSES.name)? {
            Tool::Ready(()) => PROCESSES.execute(None),
            Tool::Missing(advice) => Ok(Outcome::LeftOut(advice)),
        });
        EXPORTS.run_with(&python::READERS, &mut report);
        TENSORBOARD.run_with(&python::READERS, &mut report);
        let page = report.stage("web bundle", "cargo xtask web", || bundle(Tools::make));
        let package = report.stage("JavaScript package", "cargo xtask package", || bundle(Tools::make_package));
        report.stage("browser tests", "page and package in Chromium, with and without WebGPU", || {
            test_in_browser(page.as_deref().zip(package.as_deref()))
        });
        if self.pytorch {
            PYTORCH.run_with(&python::PYTORCH, &mut report);
        }
        report.finish()
    }
}

impl Stage {
    fn run(&self, report: &mut Report) {
        self.report(report, || {
            let Some(Err(advice)) = self.needs.map(|needs| needs.install(self.name)) else {
                return self.execute(None);
            };
            // A target may be left out on CI too: not every machine reaches a server that has it.
            ensure!(!(matches!(self.needs, Some(Needs::Component(..))) && is_ci()), advice);
            Ok(Outcome::LeftOut(format!("{advice:#}")))
        });
    }

    /// Runs the stage with the Python of `environment`.
    fn run_with(&self, environment: &Environment, report: &mut Report) {
        self.report(report, || match environment.install()? {
            Tool::Ready(interpreter) => self.execute(Some(&interpreter)),
            Tool::Missing(advice) => Ok(Outcome::LeftOut(advice)),
        });
    }

    fn report(&self, report: &mut Report, run: impl FnOnce() -> Result<Outcome>) {
        report.stage(self.name, &format!("cargo {}", self.arguments.join(" ")), run);
    }

    fn execute(&self, python: Option<&Path>) -> Result<Outcome> {
        let python = python.map(|interpreter| (python::VARIABLE, interpreter));
        let status = cargo().args(self.arguments).envs(python).status().context("cargo does not start")?;
        ensure!(status.success(), self.failure);
        Ok(Outcome::Passed(()))
    }
}

/// Makes a bundle. Returns its folder.
fn bundle(make: impl FnOnce(&Tools) -> Result<PathBuf>) -> Result<Outcome<PathBuf>> {
    match Tools::find() {
        Ok(tools) => Ok(Outcome::Passed(make(&tools)?)),
        Err(advice) if is_ci() => Err(advice),
        Err(advice) => Ok(Outcome::LeftOut(format!("{advice:#}"))),
    }
}

/// Tests page and package.
fn test_in_browser(bundles: Option<(&Path, &Path)>) -> Result<Outcome> {
    let Some((page, package)) = bundles else {
        return Ok(Outcome::LeftOut("there is no web bundle, or no JavaScript package".into()));
    };
    match chromium::install()? {
        Tool::Ready(chromium) => Ok(Outcome::Passed(browser::test(&chromium, page, package)?)),
        Tool::Missing(advice) => Ok(Outcome::LeftOut(advice)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::process::workspace;

    /// A filter that matches no test would pass.
    #[test]
    fn the_filters_of_stages_name_modules_of_the_tests() {
        let tests = fs::read_to_string(workspace().join("tests/interchange/main.rs")).unwrap();
        for stage in [EXPORTS, TENSORBOARD, PYTORCH] {
            let module = stage.arguments.last().unwrap().strip_suffix("::").unwrap();
            let declared = [" {", ";"].map(|end| format!("\nmod {module}{end}\n"));
            assert!(declared.iter().any(|line| tests.contains(line)), "{module}");
        }
    }
}
