//! The folder that is served: files, each with a compressed twin where that pays, and a list of them all.

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

/// What brotli shortens; images and weights are as short as they get.
const COMPRESSIBLE: [&str; 9] = ["css", "html", "js", "json", "mjs", "svg", "wasm", "webmanifest", "wgsl"];

/// The files of a bundle by their paths in it, with forward slashes.
#[derive(Default)]
pub struct Bundle {
    sources: BTreeMap<String, PathBuf>,
}

/// A file as the list has it.
#[derive(Serialize)]
pub struct Listed {
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The length of its compressed twin `path.br`; null if it has none.
    pub brotli: Option<u64>,
    /// Of its contents, in hexadecimal.
    pub sha256: String,
}

/// What stands in `files.json`: all files but itself and the compressed twins.
#[derive(Serialize)]
pub struct List {
    /// Another one for any other contents.
    pub version: String,
    pub files: Vec<Listed>,
}

impl Bundle {
    /// Adds a file.
    pub fn file(&mut self, path: impl Into<String>, source: impl Into<PathBuf>) {
        self.sources.insert(path.into(), source.into());
    }

    /// Adds all that lies in a folder, and in the folders below it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn folder(&mut self, path: &str, source: &Path) -> Result<()> {
        let entries = fs::read_dir(source).with_context(|| format!("{} cannot be read", source.display()))?;
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

    /// Puts the files into `folder`, in place of what was there. Whoever serves it sees the old files until the new
    /// ones are complete.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn place(&self, cache: &mut BuildCache, folder: &Path) -> Result<List> {
        let next = folder.with_extension("next");
        build_cache::remove(&next)?;
        let mut files = Vec::new();
        for (path, source) in &self.sources {
            let contents = fs::read(source).with_context(|| format!("{} cannot be read", source.display()))?;
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

/// At the highest quality, which takes minutes for the worker's module, and once.
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
    fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
    fs::write(path, contents).with_context(|| format!("{} cannot be written", path.display()))
}
