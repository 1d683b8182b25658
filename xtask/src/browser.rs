//! The browser in which the page is tested and measured: Chromium, driven by playwright in Node.js.

use std::{env, ffi::OsStr, fmt, path::PathBuf};

use anyhow::Result;

use crate::{apt, log::info, npm};

const STAGE: &str = "browser";

const PACKAGES: npm::Packages = npm::Packages {
    folder: "tools/playwright",
    package: include_str!("../../tests/browser/package.json"),
    lock: include_str!("../../tests/browser/package-lock.json"),
};

/// Names under which Chromium and what is made of it are installed.
const CHROMIUM: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The browser that is there.
pub enum Browser {
    /// One.
    Ready(Chromium),
    /// None, and what to do about it.
    Absent(&'static str),
}

/// Chromium's program, and the folder of playwright.
pub struct Chromium {
    program: PathBuf,
    packages: PathBuf,
}

impl Chromium {
    /// In which the tests' own code finds them.
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [("SLIMCLR_CHROMIUM", self.program.clone()), ("SLIMCLR_BROWSER_PACKAGES", self.packages.clone())]
    }
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Ready(Chromium { program, .. }) => write!(f, "{} is ready", program.display()),
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
    if program().is_none()
        && apt::is_allowed()
        && let Err(error) = apt::install(STAGE, &["chromium"])
    {
        info(STAGE, &format!("{error:#}"));
    }
    let Some(program) = program() else {
        return Ok(Browser::Absent(
            "there is no Chromium: install it (on Debian and Ubuntu: apt-get install chromium)",
        ));
    };
    Ok(Browser::Ready(Chromium { program, packages: PACKAGES.install(STAGE)? }))
}

fn program() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    let in_folders =
        |name: &str| folders.iter().map(|folder| folder.join(OsStr::new(name))).find(|path| path.is_file());
    CHROMIUM.into_iter().find_map(in_folders)
}
