//! The browser under the tests of the page: Chromium, driven by playwright in Node.js.

use std::{
    env::{self, consts::EXE_SUFFIX},
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    announce::say,
    apt, npm,
    process::{run, target_directory, workspace},
};

const STAGE: &str = "browser";

const PACKAGES: npm::Packages = npm::Packages {
    folder: "tools/playwright",
    package: include_str!("../../../tests/browser/package.json"),
    lock: include_str!("../../../tests/browser/package-lock.json"),
};

/// Names under which Chromium and what is made of it are installed.
const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The browser that is there for the tests.
pub enum Browser {
    /// Chromium's program, and the folder of playwright.
    Ready { chromium: PathBuf, packages: PathBuf },
    /// None, and what to do about it.
    Absent(&'static str),
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Ready { chromium, .. } => write!(f, "{} is ready", chromium.display()),
            Self::Absent(advice) => write!(f, "SKIPPED: {advice}"),
        }
    }
}

/// Makes sure that the browser and what drives it are there.
///
/// # Errors
/// If there is a Node.js, but its packages cannot be installed.
pub fn install() -> Result<Browser> {
    if !npm::is_there() {
        return Ok(Browser::Absent("there is no Node.js 20 or later with npm: install it"));
    }
    if chromium().is_none()
        && apt::is_allowed()
        && let Err(error) = apt::install(STAGE, &["chromium"])
    {
        say(STAGE, &format!("{error:#}"));
    }
    let Some(chromium) = chromium() else {
        return Ok(Browser::Absent(
            "there is no Chromium: install it (on Debian and Ubuntu: apt-get install chromium)",
        ));
    };
    Ok(Browser::Ready { chromium, packages: PACKAGES.install(STAGE)? })
}

/// Runs the tests on the page in `bundle`, with the program that the other tests have built.
///
/// # Errors
/// If one fails.
pub fn test(chromium: &Path, packages: &Path, bundle: &Path) -> Result<String> {
    let target = target_directory()?;
    let program = target.join("release").join(format!("slimclr{EXE_SUFFIX}"));
    ensure!(program.exists(), "{} is not there: cargo build --release makes it", program.display());
    let pictures = target.join("browser");
    let mut node = Command::new("node");
    // One at a time: they compute, and would only wait for each other.
    node.args(["--test", "--test-reporter=spec", "--test-concurrency=1", "--test-timeout=300000"])
        .args(tests()?)
        .env("SLIMCLR_BUNDLE", bundle)
        .env("SLIMCLR_PROGRAM", program)
        .env("SLIMCLR_CHROMIUM", chromium)
        .env("SLIMCLR_BROWSER_PACKAGES", packages)
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

fn chromium() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    let in_folders =
        |name: &str| folders.iter().map(|folder| folder.join(OsStr::new(name))).find(|path| path.is_file());
    CHROMIUM.into_iter().find_map(in_folders)
}
