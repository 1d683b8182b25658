//! What is made on the way to the bundle, kept for the next time: what did not change is not made again.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Files and folders, each named after everything that it was made of.
pub struct Products {
    folder: PathBuf,
    used: HashSet<OsString>,
}

impl Products {
    /// Those in `folder`, which is made if need be.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub fn open(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self { folder, used: HashSet::new() })
    }

    /// The product of these ingredients: the one at hand, else a new one that `make` puts at the path it is given.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get(&mut self, ingredients: &[&[u8]], make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let mut digest = Sha256::new();
        for ingredient in ingredients {
            digest.update((ingredient.len() as u64).to_le_bytes());
            digest.update(ingredient);
        }
        let name = hexadecimal(&digest.finalize());
        let product = self.folder.join(&name);
        if !product.exists() {
            let unfinished = self.folder.join("unfinished");
            remove(&unfinished)?;
            make(&unfinished)?;
            fs::rename(&unfinished, &product)?;
        }
        self.used.insert(name.into());
        Ok(product)
    }

    /// Removes what was not asked for.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn forget_unused(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !self.used.contains(&entry.file_name()) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes a file or folder that may not be there.
///
/// # Errors
/// If it is there and stays.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Bytes as text.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_made_once_and_kept_while_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Products::open(folder.path().into()).unwrap();
        let write = |path: &Path| Ok(fs::write(path, "made")?);
        let mut products = open();
        let product = products.get(&[b"ab", b"c"], write).unwrap();
        assert_eq!(products.get(&[b"ab", b"c"], |_| panic!("made twice")).unwrap(), product);
        assert_ne!(products.get(&[b"a", b"bc"], write).unwrap(), product);
        let mut products = open();
        products.get(&[b"ab", b"c"], |_| panic!("made twice")).unwrap();
        products.forget_unused().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_failed_leaves_no_product() {
        let folder = tempfile::tempdir().unwrap();
        let mut products = Products::open(folder.path().into()).unwrap();
        let half = |path: &Path| {
            fs::write(path, "half")?;
            anyhow::bail!("interrupted")
        };
        assert!(products.get(&[b"x"], half).is_err());
        let product = products.get(&[b"x"], |path| Ok(fs::write(path, "whole")?)).unwrap();
        assert_eq!(fs::read_to_string(product).unwrap(), "whole");
    }
}
