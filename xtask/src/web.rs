//! `cargo xtask web`: the folder of files that a browser loads the page from; and the JavaScript package.

mod bindgen;
mod budget;
mod build_cache;
mod bundle;
mod compiler;
mod optimise;
mod package;

use std::{
    fs::{self, File},
    path::PathBuf,
    time::Instant,
};

use anyhow::Result;
use clap::Args;

pub use self::package::Package;
use self::{
    bindgen::Bindgen,
    budget::Part,
    build_cache::BuildCache,
    bundle::Bundle,
    compiler::{Compiler, Module},
    optimise::Optimiser,
};
use crate::{
    duration::HumanDuration,
    log::info,
    process::{target_directory, workspace},
};

const STAGE: &str = "web";

/// The page. It has to load quickly. `erase_components` makes Leptos use one type for the views of all components, which
/// is less code.
const PAGE: Module = Module {
    name: "page",
    package: "slimclr-page",
    profile: "page",
    arguments: &["--config", r#"target.wasm32-unknown-unknown.rustflags = ["--cfg", "erase_components"]"#],
    optimisation: "-Oz",
};

/// The worker. It has to compute quickly.
const WORKER: Module =
    Module { name: "slimclr_worker", package: "slimclr-worker", profile: "wasm", arguments: &[], optimisation: "-O2" };

/// Make the page for browsers, in `web` in cargo's target directory
///
/// Installs what it needs, or says what to install. `slimclr serve` opens the page; any server of static files can
/// serve it. Parts that did not change since the last time are reused.
#[derive(Args)]
pub struct Web {}

impl Web {
    /// Makes the bundle and prints its size.
    ///
    /// # Errors
    /// If it cannot be made or is too large.
    pub fn run(self) -> Result<()> {
        let start = Instant::now();
        let folder = Tools::find()?.make()?;
        info(STAGE, &format!("{} is ready, in {}", folder.display(), HumanDuration(start.elapsed())));
        Ok(())
    }
}

/// The programs that make the bundle.
pub struct Tools {
    compiler: Compiler,
    bindgen: Bindgen,
    optimiser: Optimiser,
}

impl Tools {
    /// Finds the programs, after installing them if need be.
    ///
    /// # Errors
    /// If one is missing; the error says what to install.
    pub fn find() -> Result<Self> {
        Ok(Self { compiler: Compiler::find()?, optimiser: Optimiser::find()?, bindgen: Bindgen::find()? })
    }

    /// Makes the bundle of the page. Returns its folder.
    ///
    /// # Errors
    /// If something does not compile, or the bundle is too large.
    pub fn make(&self) -> Result<PathBuf> {
        self.assemble("web", &budget::PAGE, |bundle, cache| {
            self.add_module(bundle, cache, &PAGE)?;
            self.add_module(bundle, cache, &WORKER)?;
            add_assets(bundle)
        })
    }

    /// Makes the bundle `name` in cargo's target directory. Returns its folder.
    fn assemble(
        &self,
        name: &str,
        parts: &[Part],
        add_files: impl FnOnce(&mut Bundle, &mut BuildCache) -> Result<()>,
    ) -> Result<PathBuf> {
        let target = target_directory()?;
        fs::create_dir_all(&target)?;
        let lock = File::create(target.join(format!("{name}.lock")))?;
        lock.lock()?;
        let mut cache = BuildCache::open(target.join(format!("{name}.cache")))?;
        let mut bundle = Bundle::default();
        add_files(&mut bundle, &mut cache)?;
        let folder = target.join(name);
        let list = bundle.place(&mut cache, &folder)?;
        cache.remove_unused()?;
        budget::check(parts, &list)?;
        Ok(folder)
    }

    fn add_module(&self, bundle: &mut Bundle, cache: &mut BuildCache, module: &Module) -> Result<()> {
        let bound = self.bindgen.bind(cache, &self.compiler.compile(module)?, module.name)?;
        let wasm = format!("{}_bg.wasm", module.name);
        bundle.folder("", &bound)?;
        bundle.file(&wasm, self.optimiser.optimise(cache, &bound.join(&wasm), module.optimisation)?);
        Ok(())
    }
}

/// Adds the files that the bundle has as they are in the repository.
fn add_assets(bundle: &mut Bundle) -> Result<()> {
    let workspace = workspace();
    bundle.folder("", &workspace.join("web/page/static"))?;
    for (path, source) in [
        ("worker.js", "web/worker/worker.js"),
        ("surface.wgsl", "shaders/surface.wgsl"),
        ("images/train.webp", "native/assets/cifar10-train.webp"),
        ("images/test.webp", "native/assets/cifar10-test.webp"),
        ("network.safetensors", "web/assets/network.safetensors"),
        ("recording.jsonl", "web/assets/recording.jsonl"),
    ] {
        let source = workspace.join(source);
        if source.exists() {
            bundle.file(path, source);
        } else {
            info(STAGE, &format!("there is no {}, so the bundle has no {path}", source.display()));
        }
    }
    Ok(())
}
