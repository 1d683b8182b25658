//! `cargo xtask web`: the page that a browser opens, as a folder of files.

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

/// Make the browser's page, in `web` below cargo's target directory
///
/// Installs what it needs, or says what to install. `slimclr serve` opens the page; any server of static files will do.
/// What did not change since the last time is not made again.
#[derive(Args)]
pub struct Web {}

impl Web {
    /// Makes the bundle and says how large it is.
    ///
    /// # Errors
    /// If it cannot be made, or is larger than it may be.
    pub fn run(self) -> Result<()> {
        let start = Instant::now();
        let folder = Tools::find()?.make()?;
        info(STAGE, &format!("{} is ready, in {}", folder.display(), HumanDuration(start.elapsed())));
        Ok(())
    }
}

/// What makes the bundle.
pub struct Tools {
    compiler: Compiler,
    bindgen: Bindgen,
    optimiser: Optimiser,
}

impl Tools {
    /// Installs what is missing.
    ///
    /// # Errors
    /// If something can neither be found nor installed from here.
    pub fn find() -> Result<Self> {
        Ok(Self { compiler: Compiler::find()?, optimiser: Optimiser::find()?, bindgen: Bindgen::find()? })
    }

    /// Makes the bundle; returns its folder.
    ///
    /// # Errors
    /// If something does not compile, or the bundle is larger than it may be.
    pub fn make(&self) -> Result<PathBuf> {
        let target = target_directory()?;
        fs::create_dir_all(&target)?;
        let lock = File::create(target.join("web.lock"))?;
        lock.lock()?;
        let mut cache = BuildCache::open(target.join("web.cache"))?;
        let compiled = self.compiler.compile()?;
        let mut bundle = Bundle::default();
        // The page is small and waits for people; the worker computes.
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

/// What is in the bundle as it lies in the repository.
fn add_assets(bundle: &mut Bundle) -> Result<()> {
    let workspace = workspace();
    bundle.folder("", &workspace.join("web/page/static"))?;
    for (path, source) in [
        ("worker.js", "web/worker/worker.js"),
        ("surface.wgsl", "shaders/surface.wgsl"),
        ("images/train.webp", "native/assets/cifar10-train.webp"),
        ("images/test.webp", "native/assets/cifar10-test.webp"),
        ("network.safetensors", "web/assets/network.safetensors"),
    ] {
        let source = workspace.join(source);
        if source.exists() {
            bundle.file(path, source);
        } else {
            info(STAGE, &format!("{} is not there, so the bundle has no {path}", source.display()));
        }
    }
    Ok(())
}
