//! Images of a list of files, by folder.

use super::is_separator;

/// An image.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    /// Its index among the files.
    pub file: usize,
    /// Its path.
    pub path: &'a [u8],
}

/// A folder with all images below it.
pub(super) struct Folder<'a> {
    pub name: &'a [u8],
    pub images: Vec<Item<'a>>,
    /// Bytes of its path, with the separator after it.
    pub depth: usize,
}

/// The images directly in a folder, and its sub-folders.
pub(super) struct Level<'a> {
    /// The folder's path, with the separator after it; empty for the root.
    pub path: &'a [u8],
    pub direct: Vec<Item<'a>>,
    pub folders: Vec<Folder<'a>>,
}

impl<'a> Level<'a> {
    /// Divides images, sorted by path, whose paths agree in their first `depth` bytes.
    pub fn at(images: &[Item<'a>], depth: usize) -> Self {
        let path = images.first().map_or(&b""[..], |image| &image.path[..depth]);
        let mut level = Self { path, direct: Vec::new(), folders: Vec::new() };
        for image in images {
            let below = &image.path[depth..];
            let Some(end) = below.iter().position(is_separator) else {
                level.direct.push(*image);
                continue;
            };
            match level.folders.last_mut() {
                Some(folder) if folder.name == &below[..end] => folder.images.push(*image),
                _ => level.folders.push(Folder { name: &below[..end], images: vec![*image], depth: depth + end + 1 }),
            }
        }
        level
    }

    /// Opens a folder.
    pub fn inside(folder: &Folder<'a>) -> Self {
        Self::at(&folder.images, folder.depth)
    }
}
