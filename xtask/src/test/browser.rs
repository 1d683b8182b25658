//! The tests of the page and of the JavaScript package.

use std::{
    env::consts::EXE_SUFFIX,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    browser::Chromium,
    log::info,
    process::{run, target_directory, workspace},
};

/// Tests the page in the folder `page` and the JavaScript package in `package`, with the program that `cargo test` has
/// built.
///
/// # Errors
/// If the program is missing or a test fails.
pub fn test(chromium: &Chromium, page: &Path, package: &Path) -> Result<()> {
    let target = target_directory()?;
    let program = target.join("release").join(format!("slimclr{EXE_SUFFIX}"));
    ensure!(program.exists(), "there is no {}: run `cargo build --release`", program.display());
    let screenshots = target.join("browser");
    let mut node = Command::new("node");
    // One at a time: each of them keeps all cores busy.
    node.args(["--test", "--test-reporter=spec", "--test-concurrency=1", "--test-timeout=300000"])
        .args(tests()?)
        .envs(chromium.variables())
        .env("SLIMCLR_BUNDLE", page)
        .env("SLIMCLR_PACKAGE", package)
        .env("SLIMCLR_PROGRAM", program)
        .env("SLIMCLR_PICTURES", &screenshots);
    run(&mut node).context("tests in the browser failed: see their names above")?;
    info("browser tests", &format!("screenshots of the page are in {}", screenshots.display()));
    Ok(())
}

/// Returns the paths of the test files.
fn tests() -> Result<Vec<PathBuf>> {
    let folder = workspace().join("tests/browser");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut tests: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(".test.mjs")).collect();
    tests.sort();
    Ok(tests)
}
