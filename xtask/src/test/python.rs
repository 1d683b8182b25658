//! The Python under the tests of exchange with other programs: PyTorch and ONNX Runtime, in a virtual
//! environment beside cargo's builds.

use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{cargo, say, succeeds};

/// In which the tests find the Python.
pub const VARIABLE: &str = "SLIMCLR_PYTHON";

const REQUIREMENTS: &str = include_str!("../../../tests/python/requirements.txt");

/// The Python that is there for the tests.
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
            Self::Absent => f.write_str(
                "SKIPPED: there is no python3 with the modules venv and ensurepip \
                 (on Debian and Ubuntu: apt-get install python3-venv)",
            ),
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
    let contents = format!("{}{REQUIREMENTS}", String::from_utf8_lossy(&version));
    let environment = Environment::beside_builds()?;
    // Several checkouts may share one target directory.
    let lock = File::create(environment.folder.with_extension("lock"))?;
    lock.lock()?;
    if !environment.is_whole(&contents) {
        environment.make(&contents)?;
    }
    Ok(Python::Ready(environment.interpreter()))
}

struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// In cargo's target directory.
    fn beside_builds() -> Result<Self> {
        let asked = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
        let metadata: serde_json::Value = serde_json::from_slice(&asked.stdout).context("cargo metadata")?;
        let target = metadata["target_directory"].as_str().context("cargo names no target directory")?;
        Ok(Self { folder: Path::new(target).join("python") })
    }

    fn interpreter(&self) -> PathBuf {
        self.folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
    }

    /// Holds what the environment was made of, and is written last: without it, or with other contents, the
    /// environment is half made or out of date.
    fn seal(&self) -> PathBuf {
        self.folder.join("made-of.txt")
    }

    fn is_whole(&self, contents: &str) -> bool {
        fs::read_to_string(self.seal()).is_ok_and(|made_of| made_of == contents)
    }

    fn make(&self, contents: &str) -> Result<()> {
        say("python", &format!("making {}: some 3 GB to download, once", self.folder.display()));
        let made = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&self.folder));
        made.context("python3 makes no virtual environment: see its words above")?;
        let requirements = self.folder.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS)?;
        run(Command::new(self.interpreter()).args(["-m", "pip", "install", "--requirement"]).arg(&requirements))
            .context(
                "pip cannot install tests/python/requirements.txt: see its words above (it needs a network, and Python \
                 3.11 or later)",
            )?;
        fs::write(self.seal(), contents).context("the environment cannot be sealed")
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().context("it does not start")?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_whole_only_with_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment { folder: folder.path().into() };
        assert!(!environment.is_whole("torch==2"));
        fs::write(environment.seal(), "torch==1").unwrap();
        assert!(!environment.is_whole("torch==2"));
        fs::write(environment.seal(), "torch==2").unwrap();
        assert!(environment.is_whole("torch==2"));
    }
}
