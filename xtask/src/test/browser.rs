//! The tests of the page.

use std::{
    env::consts::EXE_SUFFIX,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    browser::Chromium,
    process::{run, target_directory, workspace},
};

/// Runs the tests on the page in `bundle`, with the program that the other tests have built.
///
/// # Errors
/// If one fails.
pub fn test(chromium: &Chromium, bundle: &Path) -> Result<String> {
    let target = target_directory()?;
    let program = target.join("release").join(format!("slimclr{EXE_SUFFIX}"));
    ensure!(program.exists(), "{} is not there: cargo build --release makes it", program.display());
    let pictures = target.join("browser");
    let mut node = Command::new("node");
    // One at a time: they compute, and would only wait for each other.
    node.args(["--test", "--test-reporter=spec", "--test-concurrency=1", "--test-timeout=300000"])
        .args(tests()?)
        .envs(chromium.variables())
        .env("SLIMCLR_BUNDLE", bundle)
        .env("SLIMCLR_PROGRAM", program)
        .env("SLIMCLR_PICTURES", &pictures);
    run(&mut node).context("tests in the browser failed: see their names above")?;
    Ok(format!("passed; what the page looks like is in {}", pictures.display()))
}

/// The files of tests.
fn tests() -> Result<Vec<PathBuf>> {
    let folder = workspace().join("tests/browser");
    let entries = fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut tests: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(".test.mjs")).collect();
    tests.sort();
    Ok(tests)
}
