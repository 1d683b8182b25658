//! The folder that is served: files, compressed copies of some, and a list of them all.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::build_cache::{self, BuildCache, hexadecimal};

/// The extensions of files that brotli makes smaller; images and weights stay as large.
const COMPRESSIBLE: [&str; 10] = ["css", "html", "js", "json", "jsonl", "mjs", "svg", "wasm", "webmanifest", "wgsl"];

/// The source of each file, by its path in the bundle, with forward slashes.
#[derive(Default)]
pub struct Bundle {
    sources: BTreeMap<String, PathBuf>,
}

/// An entry of `files.json`.
#[derive(Serialize)]
pub struct Listed {
    pub path: String,
    pub bytes: u64,
    /// The size of the compressed copy `path.br`; null if there is none.
    pub brotli: Option<u64>,
    /// In hexadecimal.
    pub sha256: String,
}

/// The contents of `files.json`: all files except itself and the compressed copies.
#[derive(Serialize)]
pub struct List {
    /// A hash of all files.
    pub version: String,
    pub files: Vec<Listed>,
}

impl Bundle {
    /// Adds a file.
    pub fn file(&mut self, path: impl Into<String>, source: impl Into<PathBuf>) {
        self.sources.insert(path.into(), source.into());
    }

    /// Adds all files in a folder and its subfolders.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn folder(&mut self, path: &str, source: &Path) -> Result<()> {
        let entries = fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = format!("{path}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.folder(&format!("{path}/"), &entry.path())?;
            } else {
                self.file(path, entry.path());
            }
        }
        Ok(())
    }

    /// Replaces the contents of `folder` by the bundle, all files at once.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn place(&self, cache: &mut BuildCache, folder: &Path) -> Result<List> {
        let next = folder.with_extension("next");
        build_cache::remove(&next)?;
        let mut files = Vec::new();
        for (path, source) in &self.sources {
            let contents = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
            write(&next.join(path), &contents)?;
            let mut brotli = None;
            if COMPRESSIBLE.iter().any(|extension| path.rsplit('.').next() == Some(extension)) {
                let compressed = compress(cache, &contents)?;
                brotli = Some(compressed.len() as u64);
                write(&next.join(format!("{path}.br")), &compressed)?;
            }
            let sha256 = hexadecimal(&Sha256::digest(&contents));
            files.push(Listed { path: path.clone(), bytes: contents.len() as u64, brotli, sha256 });
        }
        let list = List { version: version(&files), files };
        write(&next.join("files.json"), &serde_json::to_vec_pretty(&list)?)?;
        let last = folder.with_extension("last");
        build_cache::remove(&last)?;
        if folder.exists() {
            fs::rename(folder, &last)?;
        }
        fs::rename(&next, folder)?;
        build_cache::remove(&last)?;
        Ok(list)
    }
}

/// Compresses at the highest quality, which takes minutes for the worker's module, hence the cache.
fn compress(cache: &mut BuildCache, contents: &[u8]) -> Result<Vec<u8>> {
    let compressed = cache.get(&[b"brotli", contents], |path| {
        let mut writer = brotli::CompressorWriter::new(fs::File::create(path)?, 1 << 16, 11, 24);
        writer.write_all(contents)?;
        writer.flush()?;
        Ok(())
    })?;
    Ok(fs::read(compressed)?)
}

fn version(files: &[Listed]) -> String {
    let mut digest = Sha256::new();
    for file in files {
        digest.update(&file.path);
        digest.update(&file.sha256);
    }
    hexadecimal(&digest.finalize()[..8])
}

fn write(path: &Path, contents: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}
