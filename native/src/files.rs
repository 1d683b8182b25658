//! Files that are written whole or not at all, and folders.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

/// Start of the names of temporary files, before [`RANDOM`] letters and digits. No other program's are called so, since
/// [`sweep`] removes them from any folder that a user names.
const PREFIX: &str = ".slimclr-";
const RANDOM: usize = 6;

/// Checks that a file may be written to `path`: nothing is there, or a file, if it `overwrites` one.
///
/// # Errors
/// If something is there.
pub fn check_replaceable(path: &Path, overwrites: bool) -> Result<()> {
    if path.is_dir() {
        bail!("{} is a folder: name a file with --out", path.display());
    }
    // Also a link to nothing.
    if path.symlink_metadata().is_ok() && !overwrites {
        bail!("{} already exists: overwrite it with --force, or choose another file with --out", path.display());
    }
    Ok(())
}

/// Returns the folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file under a temporary name in the same folder, syncs it and renames it, so that readers of `path` see
/// either the old file or the complete new one.
///
/// # Errors
/// If the disk is full or the folder cannot be written; the old file then remains.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = temporary_file(folder_of(path))?;
        // Its errors are plain, while those of the named file name the temporary one.
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        io::Result::Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Creates a file under a temporary name, to be renamed when it is whole.
///
/// # Errors
/// If the folder cannot be written.
pub fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    // As any new file: those of the library are private, and its errors name them.
    let create = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file = tempfile::Builder::new().prefix(PREFIX).rand_bytes(RANDOM).make_in(folder, create)?;
    // Tells `sweep` that the file's process is alive. Some file systems have no locks.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Removes the temporary files that killed processes left in `folder`, if it exists. Files that are still being written
/// stay, and so does what cannot be removed.
pub fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && entry.file_name().to_str().is_some_and(is_temporary) {
            let file = OpenOptions::new().write(true).open(entry.path());
            if file.is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Creates a folder and its parents.
///
/// # Errors
/// If it cannot be created.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| cannot_create(path))
}

/// Says that a folder cannot be created.
pub fn cannot_create(path: &Path) -> String {
    format!("cannot create the folder {}", path.display())
}

/// Reads a file, or returns `None` if it does not exist.
///
/// # Errors
/// If it cannot be read.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Returns whether a file's name is one of [`temporary_file`].
fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix(PREFIX);
    random.is_some_and(|random| random.len() == RANDOM && random.chars().all(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abandoned_temporary_files_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        // The second is a name of another program that uses the same library.
        let names = [".slimclr-Ab3xYz", ".tmpAb3xYz", ".slimclr-notes", ".slimclr-Ab3xYz.png", ".slimclr-Ab3xY"];
        names.iter().for_each(|name| fs::write(folder.path().join(name), "").unwrap());
        fs::create_dir(folder.path().join(".slimclr-folder")).unwrap();
        let live = tempfile::Builder::new().prefix(PREFIX).rand_bytes(RANDOM).tempfile_in(folder.path()).unwrap();
        live.as_file().lock().unwrap();
        sweep(folder.path());
        assert!(live.path().exists() && folder.path().join(".slimclr-folder").exists());
        assert_eq!(names.map(|name| folder.path().join(name).exists()), [false, true, true, true, true]);
        write_atomically(&folder.path().join("file"), b"whole").unwrap();
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"whole");
        let nowhere = folder.path().join("nowhere");
        sweep(&nowhere);
        let error = format!("{:#}", write_atomically(&nowhere.join("file"), b"whole").unwrap_err());
        assert!(error.starts_with("cannot write") && !error.contains(PREFIX), "{error}");
    }
}
