//! The Python under the tests of exchange with other programs, and beside which speed is measured: PyTorch and ONNX
//! Runtime, in a virtual environment beside cargo's builds.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    log::info,
    process::{run, succeeds},
    stamped_dir::StampedDir,
};

/// In which the tests find the Python.
pub const VARIABLE: &str = "SLIMCLR_PYTHON";

/// What to do where there is no Python.
pub const ADVICE: &str = "there is no python3 with the modules venv and ensurepip (on Debian and Ubuntu: apt-get install \
                          python3-venv)";

const REQUIREMENTS: &str = include_str!("../../tests/python/requirements.txt");

/// The Python that is there.
pub enum Python {
    /// The environment's interpreter.
    Ready(PathBuf),
    /// Nothing to make an environment with.
    Absent,
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Ready(interpreter) => write!(f, "{} is ready", interpreter.display()),
            Self::Absent => write!(f, "SKIPPED: {ADVICE}"),
        }
    }
}

/// Makes sure that the environment is there.
///
/// # Errors
/// If there is a Python, but the packages cannot be installed.
pub fn install() -> Result<Python> {
    if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
        return Ok(Python::Absent);
    }
    let version = Command::new("python3").args(["-c", "import sys; print(sys.version)"]).output()?.stdout;
    let made_of = format!("{}{REQUIREMENTS}", String::from_utf8_lossy(&version));
    Ok(Python::Ready(interpreter(&StampedDir::get("python", &made_of, make)?)))
}

/// In an environment.
fn interpreter(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

fn make(environment: &Path) -> Result<()> {
    info("python", &format!("making {}: some 3 GB to download, once", environment.display()));
    let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment));
    made.context("python3 makes no virtual environment: see its words above")?;
    let requirements = environment.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    run(Command::new(interpreter(environment)).args(["-m", "pip", "install", "--requirement"]).arg(&requirements))
        .context(
            "pip cannot install tests/python/requirements.txt: see its words above (it needs a network, and Python \
             3.11 or later)",
        )
}
