//! Other programs: cargo and what else a chore starts.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Cargo, as if called from the shell.
///
/// `cargo run` describes this crate to it in variables. Build scripts that watch them would see other
/// values than in a plain `cargo build`, and be built again each time the two alternate.
pub fn cargo() -> Command {
    as_from_shell(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// A program to which `cargo run` says nothing of this crate.
pub fn as_from_shell(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    for (name, _) in env::vars_os() {
        let is_ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command
}

/// The folder of cargo's builds.
///
/// # Errors
/// If cargo does not name it.
pub fn target_directory() -> Result<PathBuf> {
    let asked = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&asked.stdout).context("cargo metadata")?;
    Ok(metadata["target_directory"].as_str().context("cargo names no target directory")?.into())
}

/// The root of the workspace, below which all its files lie.
pub fn workspace() -> PathBuf {
    let xtask = env!("CARGO_MANIFEST_DIR");
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| xtask.into())).join("..")
}

/// Whether the command ends well; it says nothing meanwhile.
pub fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Waits for a command that says by itself what it does.
///
/// # Errors
/// If it does not start or ends badly.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{program} does not start"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

/// Whether nobody will read the log of a run that passed.
pub fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| !["", "0", "false"].contains(&value.as_str()))
}
