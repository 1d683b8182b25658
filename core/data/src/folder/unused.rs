//! What of a folder is not used, counted by kind and reason.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
};

use super::level::{Folder, Item};
use crate::{
    decode::SMALLEST,
    look::{Look, extension},
    names::{SHOWN, counted, shown, some_of},
};

/// Reasons that are told; what is left is counted together.
const MOST: usize = 10;

/// Why a file is not used. In the order in which they are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    Damaged,
    TooSmall,
    /// An image outside the class folders.
    Direct,
    /// An image in a folder that is not used.
    OtherFolder,
    /// A test image of a class without training images.
    UnknownClass,
    /// A test image that the list of classes does not name.
    Unlisted,
    /// A class folder without images.
    EmptyFolder,
    Run,
    DanglingLink,
    Unopened,
    /// Named as an image, but another kind of file.
    Misnamed(String),
    /// A file of another kind, by extension.
    Other(Option<String>),
}

impl Reason {
    /// Returns why a file is not an image.
    pub fn of(path: &[u8], look: &Look) -> Option<Self> {
        Some(match look {
            Look::Image | Look::EmptyFolder => return None,
            Look::TooSmall => Self::TooSmall,
            Look::Damaged => Self::Damaged,
            Look::Misnamed(kind) => Self::Misnamed(kind.clone()),
            Look::Labels(_) | Look::Other => Self::Other(extension(path)),
            Look::DanglingLink => Self::DanglingLink,
            Look::Unopened => Self::Unopened,
        })
    }

    /// Says what is not used, with some names.
    fn say(&self, Group { count, names, folders }: &Group) -> String {
        let names = if folders.is_empty() { some_of(names, *count) } else { some_of(folders, folders.len()) };
        let (files, folders) = (*count, folders.len());
        match self {
            Self::Damaged => format!("{} ({names})", counted(files, "damaged image", "damaged images")),
            Self::TooSmall => format!("{} under {SMALLEST} pixels ({names})", counted(files, "image", "images")),
            Self::Direct => format!("{} outside the class folders ({names})", counted(files, "image", "images")),
            Self::OtherFolder if folders == 1 => format!("{} in {names}", counted(files, "image", "images")),
            Self::OtherFolder => format!("{} in {folders} folders ({names})", counted(files, "image", "images")),
            Self::UnknownClass => {
                format!("{} of classes without training images ({names})", counted(files, "test image", "test images"))
            }
            Self::Unlisted => {
                format!("{} without a class in the list ({names})", counted(files, "test image", "test images"))
            }
            Self::EmptyFolder => format!("{} without images ({names})", counted(folders, "folder", "folders")),
            Self::Run => format!("{} ({names})", counted(folders, "folder of a run", "folders of runs")),
            Self::DanglingLink => format!("{} to nothing ({names})", counted(files, "link", "links")),
            Self::Unopened => format!("{} that cannot be opened ({names})", counted(files, "file", "files")),
            Self::Misnamed(kind) => {
                let kinds = format!("{kind}s");
                format!("{} under another name ({names})", counted(files, kind, &kinds))
            }
            Self::Other(Some(extension)) => {
                counted(files, &format!(".{extension} file"), &format!(".{extension} files"))
            }
            Self::Other(None) => counted(files, "file without an extension", "files without an extension"),
        }
    }
}

/// Files that are not used, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unused(BTreeMap<Reason, Group>);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Group {
    /// Number of files.
    count: usize,
    /// Some of their names.
    names: Vec<String>,
    /// All of their folders, where these are told.
    folders: BTreeSet<String>,
}

impl Unused {
    /// Returns whether everything is used.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a file.
    pub(super) fn add(&mut self, reason: Reason, path: &[u8]) {
        let group = self.0.entry(reason).or_default();
        group.count += 1;
        if group.names.len() < SHOWN {
            group.names.push(shown(path));
        }
    }

    /// Takes back a file of another kind, which is used after all.
    pub(super) fn remove(&mut self, path: &[u8], look: &Look) {
        let Some(Entry::Occupied(mut group)) = Reason::of(path, look).map(|reason| self.0.entry(reason)) else {
            return;
        };
        group.get_mut().count -= 1;
        if group.get().count == 0 {
            group.remove();
        }
    }

    /// Adds images.
    pub(super) fn add_all(&mut self, reason: Reason, images: &[Item]) {
        images.iter().for_each(|image| self.add(reason.clone(), image.path));
    }

    /// Adds the images of a folder that is not used.
    pub(super) fn add_images_of(&mut self, reason: Reason, folder: &Folder) {
        let group = self.0.entry(reason).or_default();
        group.count += folder.images.len();
        group.folders.insert(shown(folder.name));
    }

    /// Adds a folder, once.
    pub(super) fn add_folder(&mut self, reason: Reason, path: &[u8]) {
        self.0.entry(reason).or_default().folders.insert(shown(path));
    }

    /// Returns the number of damaged images, and some of their names.
    pub(super) fn damaged(&self) -> (usize, String) {
        self.0
            .get(&Reason::Damaged)
            .map_or_else(Default::default, |group| (group.count, some_of(&group.names, group.count)))
    }
}

impl fmt::Display for Unused {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let (mut named, mut others) = (Vec::new(), 0);
        for (reason, group) in &self.0 {
            if named.len() < MOST {
                named.push(reason.say(group));
            } else {
                others += group.count.max(group.folders.len());
            }
        }
        if others > 0 {
            named.push(counted(others, "other file", "other files"));
        }
        formatter.write_str(&named.join(", "))
    }
}
