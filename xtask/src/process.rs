//! Other programs: cargo, and whatever else a task starts.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// Returns a command that runs cargo as the shell does.
///
/// `cargo run` describes this crate to it in variables. Build scripts that watch them would see other values than under
/// a plain `cargo build`, and would run again each time the two alternate.
pub fn cargo() -> Command {
    as_from_shell(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Returns a command without the variables that `cargo run` describes this crate with.
pub fn as_from_shell(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    for (name, _) in env::vars_os() {
        let describes_crate = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(describes_crate) {
            command.env_remove(name);
        }
    }
    command
}

/// Returns cargo's target directory.
///
/// # Errors
/// If cargo does not print it.
pub fn target_directory() -> Result<PathBuf> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata prints no JSON")?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target directory")?.into())
}

/// Returns the root of the workspace.
pub fn workspace() -> PathBuf {
    let xtask = env!("CARGO_MANIFEST_DIR");
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| xtask.into())).join("..")
}

/// Runs a command without output, and returns whether it succeeds.
pub fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs a command that prints its own progress and errors.
///
/// # Errors
/// If it does not start or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{program} does not start"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

/// Returns whether this runs on CI, where nobody reads the log of a run that passed.
pub fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| !["", "0", "false"].contains(&value.as_str()))
}
