//! Files that do not leave their folder.

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

/// A folder's files, and no others: neither by a path that leads out of it nor by a link that does.
#[derive(Debug, Clone)]
pub struct Confined {
    root: Arc<Path>,
}

impl Confined {
    /// The files of a folder.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn to(folder: &Path) -> Result<Self> {
        let root = folder.canonicalize().with_context(|| format!("cannot open the folder {}", folder.display()))?;
        Ok(Self { root: root.into() })
    }

    /// The folder itself, without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path`, below the folder, leads.
    ///
    /// # Errors
    /// If there is nothing, or it leads out of the folder.
    pub fn resolve(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let resolved = self.root.join(path).canonicalize()?;
        if resolved.starts_with(&self.root) { Ok(resolved) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl Backend for Confined {
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
