//! Where in a folder the classes are, and the test images.

use std::collections::BTreeSet;

use super::{
    ContentsError, File, is_separator,
    level::{Folder, Item, Level},
    unused::{Reason, Unused},
};
use crate::names::{shown, some_of};

/// Names of a folder of training images, in lower case.
const TRAIN_NAMES: [&str; 4] = ["train", "training", "train_images", "train-images"];
/// Names of a folder of test images, in lower case; the first one there is used.
const TEST_NAMES: [&str; 9] =
    ["val", "valid", "validation", "test", "testing", "val_images", "val-images", "test_images", "test-images"];

/// Files that make a folder that of a run.
const RUN: [&[u8]; 2] = [b"config.toml", b"events.jsonl"];
/// The file that makes a folder that of an experiment, which has figures beside its runs.
const EXPERIMENT: &[u8] = b"experiment.toml";

/// Files and folders that systems leave behind.
const LEFT_BEHIND: [&[u8]; 7] = [
    b"__MACOSX",
    b"@eaDir",
    b"Thumbs.db",
    b"desktop.ini",
    b"$RECYCLE.BIN",
    b"System Volume Information",
    b"lost+found",
];

/// Images that lie beside folders of at least this many times as many are strays.
const STRAYS: usize = 10;

/// Returns whether a file or folder of this name is ignored.
pub fn is_ignored(name: &[u8]) -> bool {
    name.starts_with(b".") || LEFT_BEHIND.contains(&name)
}

/// Returns the folders of runs and experiments.
pub(super) fn runs(files: &[File]) -> Vec<&[u8]> {
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    let mut runs = BTreeSet::new();
    for File { path, .. } in files {
        let (folder, name) = match path.iter().rposition(is_separator) {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&b""[..], path.as_slice()),
        };
        for (found, part) in found.iter_mut().zip(RUN) {
            if name == part {
                found.insert(folder);
            }
        }
        if name == EXPERIMENT {
            runs.insert(folder);
        }
    }
    let [configs, events] = &found;
    runs.extend(configs.intersection(events));
    runs.into_iter().collect()
}

/// Returns whether a file is in `folder` or below it.
pub(super) fn is_below(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|below| below.starts_with(b"/"))
}

impl<'a> Level<'a> {
    /// Descends as long as there is one folder and, beside it, few images, and the folder's images are in sub-folders.
    fn without_wrappers(mut self, unused: &mut Unused) -> Self {
        while let [only] = self.folders.as_slice()
            && self.direct.len() * STRAYS <= only.images.len()
        {
            let inside = Self::inside(only);
            if !inside.direct.is_empty() {
                break;
            }
            unused.add_all(Reason::Direct, &self.direct);
            self = inside;
        }
        self
    }

    /// Returns the folders as classes if there are several, with most of the images. Returns all images otherwise.
    pub fn classes(self, unused: &mut Unused) -> Result<Vec<Folder<'a>>, Vec<Item<'a>>> {
        let Self { direct, folders, .. } = self;
        let in_folders: usize = folders.iter().map(|folder| folder.images.len()).sum();
        if folders.len() < 2 || in_folders < direct.len() {
            return Err(direct.into_iter().chain(folders.into_iter().flat_map(|folder| folder.images)).collect());
        }
        unused.add_all(Reason::Direct, &direct);
        Ok(folders)
    }
}

/// A folder's training images, and its folders of test images, of which the first one that can be used is.
pub(super) struct Layout<'a> {
    pub train: Level<'a>,
    pub tests: Vec<Folder<'a>>,
}

/// Finds the folders of training and test images, if there are any.
pub(super) fn of<'a>(images: Vec<Item<'a>>, unused: &mut Unused) -> Result<Layout<'a>, ContentsError> {
    let root = Level::at(&images, 0).without_wrappers(unused);
    let place = |folder: &Folder, names: &[&str]| {
        let name = folder.name.to_ascii_lowercase();
        // COCO has train2017.
        let end = name.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1);
        names.iter().position(|known| known.as_bytes() == &name[..end])
    };
    let is_train = |folder: &Folder| place(folder, &TRAIN_NAMES).is_some();
    let is_test = |folder: &Folder| place(folder, &TEST_NAMES).is_some();
    let tested = root.folders.iter().any(is_test);
    let Some(train) = root.folders.iter().position(is_train) else {
        if root.folders.len() > 1 && root.direct.is_empty() && root.folders.iter().all(is_test) {
            let names: Vec<String> = root.folders.iter().map(|folder| shown(folder.name)).collect();
            return Err(ContentsError::NoTrain(some_of(&names, names.len())));
        }
        return Ok(Layout { train: root, tests: Vec::new() });
    };
    // Beside folders of other names, 'train' may be a class.
    let inside = Level::inside(&root.folders[train]);
    if !tested && root.folders.len() > 1 && (inside.folders.len() < 2 || !inside.direct.is_empty()) {
        return Ok(Layout { train: root, tests: Vec::new() });
    }
    let Level { direct, mut folders, .. } = root;
    folders.remove(train);
    unused.add_all(Reason::Direct, &direct);
    let (mut tests, others): (Vec<Folder>, Vec<Folder>) = folders.into_iter().partition(is_test);
    others.iter().for_each(|folder| unused.add_images_of(Reason::OtherFolder, folder));
    tests.sort_by_key(|folder| place(folder, &TEST_NAMES));
    Ok(Layout { train: inside.without_wrappers(unused), tests })
}

/// Counts the sub-folders of `folder`, the one of the classes, that have no images.
pub(super) fn name_empty_classes<'a>(
    folder: &[u8],
    classes: &[Folder],
    files: impl Iterator<Item = &'a File>,
    unused: &mut Unused,
) {
    for File { path, look, .. } in files {
        let Some(below) = path.strip_prefix(folder) else { continue };
        let end = below.iter().position(is_separator).or((*look == super::Look::EmptyFolder).then_some(below.len()));
        let Some(name) = end.map(|end| &below[..end]) else { continue };
        if !is_ignored(name) && classes.binary_search_by(|class| class.name.cmp(name)).is_err() {
            unused.add_folder(Reason::EmptyFolder, &path[..folder.len() + name.len()]);
        }
    }
}
