//! The page beside TensorFlow.js, both in Chromium.

use anyhow::{Result, bail};

use super::{
    Contest, Program, STAGE, Sides,
    row::{self, Set},
};
use crate::{
    browser::{self, Browser},
    log::timed,
    npm,
    process::workspace,
    web::Tools,
};

const TENSORFLOW: npm::Packages = npm::Packages {
    folder: "tools/tensorflow",
    package: include_str!("page/package.json"),
    lock: include_str!("page/package-lock.json"),
};

/// Both sides of what `chosen` leaves of the rows.
///
/// # Errors
/// If there is no browser, a side cannot be built, or `chosen` refuses.
pub fn beside_tensorflow(chosen: impl FnOnce(Vec<Set>) -> Result<Vec<Set>>) -> Result<Contest> {
    let sets = chosen(row::page_sets())?;
    let chromium = match timed("browser", "Chromium, in which to measure", browser::install)? {
        Browser::Ready(chromium) => chromium,
        Browser::Absent(advice) => bail!("nothing can be measured in a browser: {advice}"),
    };
    let bundle = Tools::find()?.make()?;
    let packages = TENSORFLOW.install(STAGE)?;
    let program = |name: &str, more: (&'static str, _)| Program {
        path: "node".into(),
        argument: Some(workspace().join("xtask/src/bench/page").join(name)),
        variables: chromium.variables().into_iter().chain([more]).collect(),
    };
    let sides = Sides {
        ours: program("ours.mjs", ("SLIMCLR_BUNDLE", bundle)),
        theirs: program("theirs.mjs", ("SLIMCLR_TENSORFLOW", packages)),
    };
    let remarks = "`cpu` is Chromium without a GPU, `webgpu` its software renderer SwiftShader.";
    Ok(Contest { peer: "TensorFlow.js", sets, sides, has_floor: false, remarks })
}
