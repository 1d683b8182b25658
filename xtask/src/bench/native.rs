//! The program's core beside PyTorch.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    Contest, Program, STAGE, Sides,
    row::{self, Set},
};
use crate::{
    log::{info, timed},
    process::{cargo, run},
    python::{self, Python},
    pytorch,
};

/// Our side: a bench of `slimclr-core`.
const BENCH: &str = "against";

/// Both sides of what `chosen` leaves of the rows, with files that live as long as `folder`.
///
/// # Errors
/// If a side cannot be built or `chosen` refuses.
pub fn beside_pytorch(folder: &Path, chosen: impl FnOnce(Vec<Set>) -> Result<Vec<Set>>) -> Result<Contest> {
    let [photograph, small] = ["photograph.jpg", "small.png"].map(|name| folder.join(name));
    let sets = chosen(row::sets(&photograph.to_string_lossy(), &small.to_string_lossy()))?;
    let ours = Program { path: ours()?.into(), argument: None, variables: vec![] };
    let python = interpreter(timed("python", "PyTorch, beside which to measure", python::install)?)?;
    let programs = pytorch::unpack(folder)?;
    run(Command::new(&python).arg(programs.join(pytorch::IMAGES)).args([&photograph, &small]))
        .context("Python makes no images")?;
    let theirs = Program { path: python.into(), argument: Some(programs.join(pytorch::JOBS)), variables: vec![] };
    let remarks = "Peak memory is a job's alone, without the program around it.";
    Ok(Contest { peer: "PyTorch", sets, sides: Sides { ours, theirs }, has_floor: true, remarks })
}

/// Builds our side.
fn ours() -> Result<PathBuf> {
    // The whole workspace, for the sake of its features: with others, half of Burn would be built once more.
    let arguments = ["build", "--release", "--workspace", "--bench", BENCH, "--message-format=json-render-diagnostics"];
    info(STAGE, &format!("cargo {}", arguments.join(" ")));
    let built = cargo().args(arguments).stderr(Stdio::inherit()).output().context("cargo does not start")?;
    ensure!(built.status.success(), "this project's side cannot be built: see cargo's words above");
    executable(&String::from_utf8_lossy(&built.stdout)).context("cargo does not say where it built it")
}

/// The bench of which cargo's messages say that it was built.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages
        .filter(|message| message["target"]["name"] == BENCH)
        .find_map(|message| Some(message["executable"].as_str()?.into()))
}

/// The Python that has PyTorch.
fn interpreter(python: Python) -> Result<PathBuf> {
    match python {
        Python::Ready(interpreter) => Ok(interpreter),
        Python::Absent => bail!("there is no PyTorch to measure beside: {}", python::ADVICE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_the_executable() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"speed\"},\"executable\":\"/t/speed-1\"}\n\
                        {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"against\"},\"executable\":\"/t/against-1\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some("/t/against-1".into()));
        assert_eq!(executable("no JSON\n"), None);
    }

    #[test]
    fn without_python_the_refusal_says_what_to_install() {
        let error = interpreter(Python::Absent).unwrap_err().to_string();
        assert!(error.contains("no PyTorch") && error.contains("python3-venv"), "{error}");
    }
}
