//! File access confined to one folder.

use std::{
    fs::Metadata,
    future::{Ready, ready},
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use anyhow::{Context, Result};
use tower_http::services::fs::{Backend, TokioBackend, TokioFile};

/// A folder whose files can be read. Paths and symbolic links that lead out of it are refused.
#[derive(Debug, Clone)]
pub struct ConfinedFolder {
    root: Arc<Path>,
}

impl ConfinedFolder {
    /// Opens a folder.
    ///
    /// # Errors
    /// If it does not exist.
    pub fn new(folder: &Path) -> Result<Self> {
        let root = folder.canonicalize().with_context(|| format!("cannot open the folder {}", folder.display()))?;
        Ok(Self { root: root.into() })
    }

    /// Returns the folder's canonical path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Resolves `path`, relative to the folder, to a canonical path.
    ///
    /// # Errors
    /// If it does not exist, or leads out of the folder.
    pub fn resolve(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let resolved = self.root.join(path).canonicalize()?;
        if resolved.starts_with(&self.root) { Ok(resolved) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl Backend for ConfinedFolder {
    type File = TokioFile;
    type Metadata = Metadata;
    type OpenFuture = Pin<Box<dyn Future<Output = io::Result<TokioFile>> + Send>>;
    type MetadataFuture = Ready<io::Result<Metadata>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        match self.resolve(path) {
            Ok(path) => TokioBackend.open(path),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        ready(self.resolve(path).and_then(|path| path.metadata()))
    }
}
