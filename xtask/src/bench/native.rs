//! `slimclr-core` against PyTorch.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{
    Comparison, Program, Programs, STAGE,
    row::{self, ImageFiles, Set},
};
use crate::{
    log::{info, timed},
    process::{cargo, run},
    python::PYTORCH,
    pytorch,
};

/// A benchmark of `slimclr-core`.
const BENCH: &str = "against";

/// Prepares the comparison of the rows that `chosen` returns, with temporary files in `folder`.
///
/// # Errors
/// Those of `chosen`, or if a program cannot be built.
pub fn against_pytorch(folder: &Path, chosen: impl FnOnce(Vec<Set>) -> Result<Vec<Set>>) -> Result<Comparison> {
    let files = ["camera.jpg", "photograph.jpg", "small.png"].map(|name| folder.join(name));
    let [camera, photograph, small] = files.each_ref().map(|file| file.to_string_lossy());
    let sets = chosen(row::sets(&ImageFiles { camera: &camera, photograph: &photograph, small: &small }))?;
    let slimclr = Program { path: build()?.into(), argument: None, variables: vec![] };
    let python = timed("python", "PyTorch, to compare with", || PYTORCH.install())?;
    let python = python.require().context("there is no PyTorch to compare with")?;
    let programs = pytorch::unpack(folder)?;
    run(Command::new(&python).arg(programs.join(pytorch::IMAGES)).args(&files))
        .context("Python cannot make the images")?;
    let peer = Program { path: python.into(), argument: Some(programs.join(pytorch::JOBS)), variables: vec![] };
    let remarks = "Peak memory is that of the job, without the program's own.";
    Ok(Comparison { peer: "PyTorch", sets, programs: Programs { slimclr, peer }, has_roofline: true, remarks })
}

/// Builds the benchmark. Returns its path.
fn build() -> Result<PathBuf> {
    // With the features of the whole workspace: with others, half of Burn would be built again.
    let arguments = ["build", "--release", "--workspace", "--bench", BENCH, "--message-format=json-render-diagnostics"];
    info(STAGE, &format!("cargo {}", arguments.join(" ")));
    let built = cargo().args(arguments).stderr(Stdio::inherit()).output().context("cargo does not start")?;
    ensure!(built.status.success(), "slimclr's benchmark cannot be built: see cargo's messages above");
    executable(&String::from_utf8_lossy(&built.stdout)).context("cargo does not print where it built the benchmark")
}

/// Returns the path of the benchmark in cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages
        .filter(|message| message["target"]["name"] == BENCH)
        .find_map(|message| Some(message["executable"].as_str()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_the_executable() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"speed"},"executable":"/t/speed-1"}
{"reason":"compiler-artifact","target":{"name":"against"},"executable":"/t/against-1"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages), Some("/t/against-1".into()));
        assert_eq!(executable("no JSON\n"), None);
    }
}
