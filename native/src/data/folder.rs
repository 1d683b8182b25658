//! A folder of images on disk: lists its files, and looks at the first bytes of new and changed ones.

use std::{
    fs::{self, File, FileType},
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use rayon::prelude::*;
use slimclr_core::{
    augment::Normalisation,
    data::{
        folder::{self, Contents, Purpose, contents_for, is_ignored},
        look::{self, FIRST, LONGER, LONGEST_LIST, Look, look},
    },
};

use super::{
    dataset::{Dataset, Images},
    image_file::{ImageFile, shown_path},
    listing::{Listing, Stamp},
};
use crate::terminal::{self, Progress};

/// Finds the images in `root` for this purpose, and says in a line which are used and what is not.
///
/// # Errors
/// If `root` cannot be listed, or there are no images or, for training, too few of them.
pub fn scan(root: &Path, purpose: Purpose) -> Result<Dataset> {
    let name = shown_path(root);
    let (files, stamps) = list(root, &Progress::counter("found", "looking at the images"))?;
    let found: Contents = contents_for(purpose, &files).map_err(|error| anyhow!("{name}: {error}"))?;
    terminal::note(&found.to_string());
    let images = |images: &[(usize, u32)]| {
        let image = |&(file, label): &(usize, u32)| {
            let path = root.join(path_of(&files[file].path));
            ImageFile { path, label, stamp: stamps[file] }
        };
        Images::Files(images.iter().map(image).collect())
    };
    let images = [&found.train, &found.test].map(|split| images(split));
    Ok(Dataset::new(name, root, (found.classes, Normalisation::IMAGENET), images))
}

/// Returns whether there is nothing where the folder `root` was, not even an empty file: its disk is gone.
pub fn is_gone(root: &Path) -> bool {
    fs::read_dir(root).map_or(true, |mut entries| entries.next().is_none())
}

/// Lists all files below `root` that are not ignored, and their stamps. `found` counts the images among them.
///
/// # Errors
/// If `root` cannot be listed.
fn list(root: &Path, found: &Progress) -> Result<(Vec<folder::File>, Vec<Stamp>)> {
    fs::read_dir(root).with_context(|| format!("cannot list {}", shown_path(root)))?;
    let known = Listing::read(root);
    let files = list_below(root, &[], (&known, found), &[]);
    known.update(files.iter().map(|(file, stamp)| (file.path.as_slice(), *stamp, &file.look)));
    Ok(files.into_iter().unzip())
}

/// Lists the files below a folder on all cores. `name` is its path relative to the root, and `links` are the folders that
/// links on this path lead to.
fn list_below(
    folder: &Path,
    name: &[u8],
    (known, found): (&Listing, &Progress),
    links: &[PathBuf],
) -> Vec<(folder::File, Stamp)> {
    let listed = |path: Vec<u8>, stamp: Stamp, look| (folder::File { path, size: stamp.size, look }, stamp);
    let Ok(mut entries) = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>) else {
        return vec![listed(name.to_vec(), Stamp::default(), Look::Unopened)];
    };
    // The order of names, so that what is told does not depend on the disk.
    entries.sort_by_cached_key(fs::DirEntry::file_name);
    let entries: Vec<(PathBuf, Vec<u8>, Kind)> = entries
        .into_iter()
        .filter(|entry| !is_ignored(entry.file_name().as_encoded_bytes()))
        .map(|entry| {
            let separator: &[u8] = if name.is_empty() { b"" } else { b"/" };
            let name = [name, separator, entry.file_name().as_encoded_bytes()].concat();
            let path = entry.path();
            let kind = entry.file_type().map(|kind| of_type(kind, &path, folder, links));
            (path, name, kind.unwrap_or(Kind::Other(Look::Unopened)))
        })
        .collect();
    if entries.is_empty() && !name.is_empty() {
        return vec![listed(name.to_vec(), Stamp::default(), Look::EmptyFolder)];
    }
    let of_entry = |(path, name, kind): (PathBuf, Vec<u8>, Kind)| match kind {
        Kind::Folder => list_below(&path, &name, (known, found), links),
        Kind::Linked(target) => list_below(&path, &name, (known, found), &[links, &[target]].concat()),
        Kind::File => {
            let stamp = fs::metadata(&path).as_ref().map(Stamp::from).unwrap_or_default();
            let look = || look_at(&path, &name, stamp.size).unwrap_or(Look::Unopened);
            let look = known.look(&name, stamp).cloned().unwrap_or_else(look);
            found.inc(usize::from(look == Look::Image));
            vec![listed(name, stamp, look)]
        }
        Kind::Other(look) => vec![listed(name, Stamp::default(), look)],
    };
    entries.into_par_iter().flat_map_iter(of_entry).collect()
}

/// Whether an entry is opened.
enum Kind {
    Folder,
    /// A folder, by a link to this one.
    Linked(PathBuf),
    File,
    Other(Look),
}

/// Follows links, but not in circles. `folder` holds the entry, and `links` lead to it.
fn of_type(kind: FileType, path: &Path, folder: &Path, links: &[PathBuf]) -> Kind {
    let of = |is_folder, is_file| match (is_folder, is_file) {
        (true, _) => Kind::Folder,
        (_, true) => Kind::File,
        // Opening a pipe would wait for its writer.
        _ => Kind::Other(Look::Other),
    };
    if !kind.is_symlink() {
        return of(kind.is_dir(), kind.is_file());
    }
    match fs::metadata(path) {
        Ok(target) if target.is_dir() => match (path.canonicalize(), folder.canonicalize()) {
            (Ok(target), Ok(folder)) if !folder.starts_with(&target) && !links.contains(&target) => {
                Kind::Linked(target)
            }
            _ => Kind::Other(Look::Unopened),
        },
        Ok(target) => of(target.is_dir(), target.is_file()),
        Err(error) if error.kind() == ErrorKind::NotFound => Kind::Other(Look::DanglingLink),
        Err(_) => Kind::Other(Look::Unopened),
    }
}

/// Reads the first bytes of a file of `size` bytes.
fn look_at(path: &Path, name: &[u8], size: u64) -> std::io::Result<Look> {
    let mut file = File::open(path)?;
    if look::is_label_list(name) && size <= LONGEST_LIST {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        return Ok(Look::Labels(String::from_utf8_lossy(&text).into_owned()));
    }
    let mut first = [0; FIRST];
    let read = read_fully(&mut file, &mut first)?;
    if let Some(look) = look(name, &first[..read], read as u64 >= size) {
        return Ok(look);
    }
    let mut longer = first.to_vec();
    file.take((LONGER - FIRST) as u64).read_to_end(&mut longer)?;
    Ok(look(name, &longer, longer.len() as u64 >= size).unwrap_or(Look::Image))
}

/// Reads until `bytes` are full or the file ends, and returns how many were read.
fn read_fully(file: &mut File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read(&mut bytes[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// Returns a listed name as a path.
fn path_of(name: &[u8]) -> PathBuf {
    #[cfg(unix)]
    return <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name).into();
    #[cfg(not(unix))]
    return String::from_utf8_lossy(name).into_owned().into();
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};

    use image::RgbImage;
    use slimclr_core::data::names::shown;

    use super::*;

    #[test]
    fn files_of_any_name_are_listed_and_links_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let class = root.join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
        fs::create_dir_all(&class).unwrap();
        fs::create_dir_all(root.join("empty")).unwrap();
        fs::create_dir_all(folder.path().join("elsewhere")).unwrap();
        RgbImage::new(8, 8).save(class.join("1.png")).unwrap();
        RgbImage::new(8, 8).save(folder.path().join("elsewhere/2.png")).unwrap();
        fs::write(root.join("val.txt"), "a").unwrap();
        fs::write(root.join(".hidden"), "").unwrap();
        symlink("../elsewhere", root.join("linked")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("..", root.join("empty/up")).unwrap();
        // A circle of two.
        symlink("../elsewhere2", folder.path().join("elsewhere/there")).unwrap();
        fs::create_dir(folder.path().join("elsewhere2")).unwrap();
        symlink("../elsewhere", folder.path().join("elsewhere2/back")).unwrap();
        let progress = Progress::counter("found", "looking at the images");
        let (files, _) = list(&root, &progress).unwrap();
        assert_eq!(progress.bar().position(), 2);
        let found: Vec<(String, Look)> = files.iter().map(|file| (shown(&file.path), file.look.clone())).collect();
        let expected = [
            ("caf\u{fffd}/1.png", Look::Image),
            ("dangling", Look::DanglingLink),
            ("empty/up", Look::Unopened),
            ("linked/2.png", Look::Image),
            ("linked/there/back", Look::Unopened),
            ("val.txt", Look::Labels("a".into())),
        ];
        assert_eq!(found, expected.map(|(name, look)| (name.to_owned(), look)));
        assert!(root.join(path_of(&files[0].path)).is_file());
    }

    #[test]
    fn a_long_header_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Vec::new();
        RgbImage::new(8, 8).write_to(&mut std::io::Cursor::new(&mut file), image::ImageFormat::Jpeg).unwrap();
        let profile = [&[0xFF, 0xE2, 0xFF, 0xFF][..], &[7; 65_533]].concat();
        let path = folder.path().join("a.jpg");
        fs::write(&path, [&file[..2], &profile, &profile, &file[2..]].concat()).unwrap();
        let look_at = || look_at(&path, b"a.jpg", fs::metadata(&path).unwrap().len()).unwrap();
        assert_eq!(look_at(), Look::Image);
        fs::write(&path, [&file[..2], &profile, &profile].concat()).unwrap();
        assert_eq!(look_at(), Look::Damaged);
    }
}
