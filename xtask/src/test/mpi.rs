//! MPI, for the tests of several processes.

use std::process::Command;

use anyhow::Result;

use crate::{apt, process::succeeds, tool::Tool};

/// The library with its launcher, and what compiles its bindings.
const PACKAGES: [&str; 3] = ["libopenmpi-dev", "openmpi-bin", "libclang-dev"];

/// Installs MPI if it is missing. Returns what to install where that is not allowed.
///
/// # Errors
/// If apt cannot install it.
pub fn install(stage: &str) -> Result<Tool<()>> {
    if !is_installed() && apt::is_allowed() {
        apt::install(stage, &PACKAGES)?;
    }
    Ok(match is_installed() {
        true => Tool::Ready(()),
        false => Tool::Missing(format!(
            "the tests of several processes need MPI and libclang: install them, on Debian and Ubuntu with `sudo apt-get \
             install --no-install-recommends {}`",
            PACKAGES.join(" ")
        )),
    })
}

/// Returns whether there are a launcher, and a compiler that knows the library and libclang's folder.
fn is_installed() -> bool {
    let has_clang = || {
        let found = Command::new("sh").args(["-c", "ls /usr/lib/llvm*/lib/libclang*.so* || clang --version"]).output();
        found.is_ok_and(|output| output.status.success() || !output.stdout.is_empty())
    };
    ["mpirun", "mpicc"].iter().all(|program| succeeds(Command::new(program).arg("--version"))) && has_clang()
}
