//! The page against TensorFlow.js, both in Chromium.

use anyhow::{Context, Result};

use super::{
    Comparison, Program, Programs, STAGE,
    row::{self, Set},
};
use crate::{browser, log::timed, npm, process::workspace, web::Tools};

const TENSORFLOW: npm::Packages = npm::Packages {
    folder: "tools/tensorflow",
    package: include_str!("page/package.json"),
    lock: include_str!("page/package-lock.json"),
};

/// Prepares the comparison of the rows that `chosen` returns.
///
/// # Errors
/// Those of `chosen`, or if there is no browser or a program cannot be built.
pub fn against_tensorflow(chosen: impl FnOnce(Vec<Set>) -> Result<Vec<Set>>) -> Result<Comparison> {
    let sets = chosen(row::page_sets())?;
    let chromium = timed("browser", "Chromium, to measure in", browser::install)?;
    let chromium = chromium.require().context("there is no browser to measure in")?;
    let bundle = Tools::find()?.make()?;
    let packages = TENSORFLOW.install(STAGE)?;
    let program = |name: &str, more: (&'static str, _)| Program {
        path: "node".into(),
        argument: Some(workspace().join("xtask/src/bench/page").join(name)),
        variables: chromium.variables().into_iter().chain([more]).collect(),
    };
    let programs = Programs {
        slimclr: program("slimclr.mjs", ("SLIMCLR_BUNDLE", bundle)),
        peer: program("tensorflow.mjs", ("SLIMCLR_TENSORFLOW", packages)),
    };
    let remarks = "`cpu` is Chromium without a GPU, `webgpu` its software renderer SwiftShader.";
    Ok(Comparison { peer: "TensorFlow.js", sets, programs, has_roofline: false, remarks })
}
