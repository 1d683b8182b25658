//! Virtual environments of Python in cargo's target directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    log::info,
    process::{run, succeeds},
    stamped_dir::StampedDir,
    tool::Tool,
};

/// The variable that names the Python for the tests.
pub const VARIABLE: &str = "SLIMCLR_PYTHON";

/// ONNX Runtime and TensorBoard, for the tests of what they read.
pub const READERS: Environment =
    Environment { folder: "tools/readers", requirements: &[REQUIREMENTS], download: "100 MB" };

/// PyTorch and torchvision too.
pub const PYTORCH: Environment =
    Environment { folder: "tools/pytorch", requirements: &[PYTORCH_REQUIREMENTS, REQUIREMENTS], download: "3 GB" };

const REQUIREMENTS: File = ("requirements.txt", include_str!("../../tests/python/requirements.txt"));
const PYTORCH_REQUIREMENTS: File =
    ("requirements-pytorch.txt", include_str!("../../tests/python/requirements-pytorch.txt"));

/// A file's name and contents.
type File = (&'static str, &'static str);

/// A virtual environment that is made when it is first needed.
pub struct Environment {
    /// Its path in cargo's target directory.
    folder: &'static str,
    /// What pip installs, and the files that the first one includes.
    requirements: &'static [File],
    /// The size of the packages.
    download: &'static str,
}

impl Environment {
    /// Returns the environment's interpreter, after making the environment if need be.
    ///
    /// # Errors
    /// If there is a Python, but pip cannot install the packages.
    pub fn install(&self) -> Result<Tool<PathBuf>> {
        if !succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"])) {
            return Ok(Tool::Missing(
                "there is no python3 with the modules venv and ensurepip: install it (on Debian and Ubuntu: apt-get \
                 install python3-venv)"
                    .into(),
            ));
        }
        let version = Command::new("python3").args(["-c", "import sys; print(sys.version)"]).output()?.stdout;
        let requirements: String = self.requirements.iter().map(|(_, contents)| *contents).collect();
        let made_of = format!("{}{requirements}", String::from_utf8_lossy(&version));
        Ok(Tool::Ready(interpreter(&StampedDir::get(self.folder, &made_of, |folder| self.make(folder))?)))
    }

    fn make(&self, folder: &Path) -> Result<()> {
        info("python", &format!("making {}: downloads {}, once", folder.display(), self.download));
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
            .context("python3 cannot make a virtual environment: see its message above")?;
        for (name, contents) in self.requirements {
            fs::write(folder.join(name), contents)?;
        }
        let requirements = self.requirements[0].0;
        run(Command::new(interpreter(folder))
            .args(["-m", "pip", "install", "--requirement"])
            .arg(folder.join(requirements)))
        .with_context(|| {
            format!(
                "pip cannot install tests/python/{requirements}: see its message above (it needs a network, and Python \
                 3.11 or later)"
            )
        })
    }
}

/// Returns the path of an environment's interpreter.
fn interpreter(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}
