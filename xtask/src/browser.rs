//! The browser that the page is tested and measured in: Chromium, driven by playwright in Node.js.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{apt, log::info, npm, tool::Tool};

const STAGE: &str = "browser";

const PACKAGES: npm::Packages = npm::Packages {
    folder: "tools/playwright",
    package: include_str!("../../tests/browser/package.json"),
    lock: include_str!("../../tests/browser/package-lock.json"),
};

/// The names of Chromium's program and of its derivatives'.
const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The oldest version of Chromium that the page is tested with.
const OLDEST: u32 = 120;

/// Chromium's program and playwright's folder.
pub struct Chromium {
    program: PathBuf,
    packages: PathBuf,
}

impl Chromium {
    /// Returns the variables that name both for the tests.
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("SLIMCLR_CHROMIUM", self.program.clone()), ("SLIMCLR_BROWSER_PACKAGES", self.packages.clone())]
    }
}

/// Finds Chromium and playwright, after installing them if need be.
///
/// # Errors
/// If there is a Node.js, but its packages cannot be installed.
pub fn install() -> Result<Tool<Chromium>> {
    if !npm::is_installed() {
        return Ok(Tool::Missing(npm::ADVICE.into()));
    }
    if find().is_none()
        && apt::is_allowed()
        && let Err(error) = apt::install(STAGE, &["chromium"])
    {
        info(STAGE, &format!("{error:#}"));
    }
    let Some(program) = find() else {
        return Ok(Tool::Missing(format!(
            "there is no Chromium: install version {OLDEST} or later (on Debian and Ubuntu: apt-get install chromium)"
        )));
    };
    if let Some(version) = version(&program).filter(|version| *version < OLDEST) {
        return Ok(Tool::Missing(format!(
            "{} is Chromium {version}: install version {OLDEST} or later",
            program.display()
        )));
    }
    Ok(Tool::Ready(Chromium { program, packages: PACKAGES.install(STAGE)? }))
}

/// Returns the path of Chromium's program.
fn find() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    let in_folders = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    CHROMIUM.into_iter().find_map(in_folders)
}

/// Returns Chromium's major version, if the program prints one.
fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    major(&String::from_utf8_lossy(&output.stdout))
}

/// Returns 120 for `Chromium 120.0.6099.224 built on Debian`.
fn major(version: &str) -> Option<u32> {
    version.split_whitespace().find_map(|word| word.split_once('.')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_comes_before_the_first_dot() {
        assert_eq!(major("Chromium 156.0.8078.108 built on Debian GNU/Linux 12 (bookworm)\n"), Some(156));
        assert_eq!(major("Google Chrome 119.0.6045.199 \n"), Some(119));
        assert_eq!(major("unknown option"), None);
    }
}
