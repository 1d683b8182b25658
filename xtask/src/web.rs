//! `cargo xtask web`: the folder of files that a browser loads the page from.

mod bindgen;
mod budget;
mod build_cache;
mod bundle;
mod compiler;
mod optimise;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;
use clap::Args;

use self::{bindgen::Bindgen, build_cache::BuildCache, bundle::Bundle, compiler::Compiler, optimise::Optimiser};
use crate::{
    duration::HumanDuration,
    log::info,
    process::{target_directory, workspace},
};

const STAGE: &str = "web";

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

    /// Makes the bundle. Returns its folder.
    ///
    /// # Errors
    /// If something does not compile, or the bundle is too large.
    pub fn make(&self) -> Result<PathBuf> {
        let target = target_directory()?;
        fs::create_dir_all(&target)?;
        let lock = File::create(target.join("web.lock"))?;
        lock.lock()?;
        let mut cache = BuildCache::open(target.join("web.cache"))?;
        let compiled = self.compiler.compile()?;
        let mut bundle = Bundle::default();
        // The page has to load quickly; the worker has to compute quickly.
        self.add_module(&mut bundle, &mut cache, &compiled.page, "page", "-Oz")?;
        self.add_module(&mut bundle, &mut cache, &compiled.worker, "slimclr_worker", "-O2")?;
        add_assets(&mut bundle)?;
        let folder = target.join("web");
        let list = bundle.place(&mut cache, &folder)?;
        cache.remove_unused()?;
        budget::check(&list)?;
        Ok(folder)
    }

    fn add_module(
        &self,
        bundle: &mut Bundle,
        cache: &mut BuildCache,
        module: &Path,
        name: &str,
        level: &str,
    ) -> Result<()> {
        let bound = self.bindgen.bind(cache, module, name)?;
        let module = format!("{name}_bg.wasm");
        bundle.folder("", &bound)?;
        bundle.file(&module, self.optimiser.optimise(cache, &bound.join(&module), level)?);
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
