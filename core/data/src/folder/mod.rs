//! What is in a folder of images: the one rule of the program and the page.
//!
//! - **Labelled.** The first folder below the root names the class of an image; further folders do not matter, as in
//!   torchvision's `ImageFolder`. Folders of training and test images may be above the classes. A flat folder of test
//!   images takes its classes from a list.
//! - **Unlabelled.** Images directly in the root or in the folder of training images, or all in one folder. Such a data
//!   set has no classes, and all labels are 0.
//! - Without test images, every tenth image of each class is held out.
//! - The folders of runs are not data.
//! - A trained network takes one image, and any number of damaged ones; training does not.

mod label_list;
mod layout;
mod level;
mod unused;

use std::{collections::HashMap, fmt};

use serde::{Deserialize, Serialize};

use self::{
    layout::Layout,
    level::{Folder, Item, Level},
    unused::Reason,
};
pub use self::{layout::is_ignored, unused::Unused};
use crate::{
    decode::FORMATS,
    look::Look,
    names::{counted, shown, some_of},
};

/// Without test images, every tenth image of a class is held out.
const HOLD_OUT: usize = 10;
/// Of this many images, at most one may be damaged.
pub const IMAGES_PER_DAMAGED: usize = 10;

/// A file, an empty folder or a link to nothing below the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path relative to the root, with `/` between names. Names may be any bytes.
    pub path: Vec<u8>,
    /// Its length in bytes.
    pub size: u64,
    /// What it is.
    pub look: Look,
}

/// The images of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Names of the classes in order, as text; none if the images are unlabelled.
    pub classes: Vec<String>,
    /// Training images, as indices into the files, with labels.
    pub train: Vec<(usize, u32)>,
    /// Test images, as indices into the files, with labels.
    pub test: Vec<(usize, u32)>,
    /// Whether the test images are held out of the training images.
    pub is_held_out: bool,
    /// What is not used.
    pub unused: Unused,
}

/// What images are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A run trains and is tested on them.
    Training,
    /// A trained network computes their features.
    Features,
}

/// Why there is nothing to train on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentsError {
    /// There is no file.
    #[error("the folder is empty: name a folder of {FORMATS} images")]
    Empty,
    /// There is no image.
    #[error("there is no image that can be read, but {0}: name a folder of {FORMATS} images")]
    NoImages(Unused),
    /// There is one image.
    #[error("there is only one image, {0}: add more, to train on and to test")]
    OneImage(String),
    /// No class has two images.
    #[error("no class has more than one image, so none can be held out to test: add more, or a folder 'val'")]
    NoTest,
    /// It is the folder of a run.
    #[error("this is the folder of a run, not of images: name the folder of the images")]
    IsRun,
    /// There are only test images.
    #[error(
        "there are images to test in {0}, but none to train on: add a folder 'train', or name one of these folders"
    )]
    NoTrain(String),
    /// The classes of the test images are unknown.
    #[error(
        "{count} images in '{folder}' are not of the training images' classes: {found}; sort them into folders \
         named as the training classes are, put a list such as val_annotations.txt or LOC_val_solution.csv beside them, \
         or move '{folder}' away, so that every tenth training image is held out"
    )]
    NoTestClasses {
        /// The folder of test images.
        folder: String,
        /// Number of its images.
        count: usize,
        /// What was found in place of classes.
        found: String,
    },
    /// Too many images are damaged.
    #[error("{damaged} of {images} images are damaged ({examples}): replace or remove them")]
    Damaged {
        /// Number of damaged images.
        damaged: usize,
        /// Number of all images.
        images: usize,
        /// Names of some damaged ones.
        examples: String,
    },
}

/// Decides which files a run uses, and as what.
///
/// # Errors
/// If there is nothing to train on.
pub fn contents(files: &[File]) -> Result<Contents, ContentsError> {
    contents_for(Purpose::Training, files)
}

/// Decides which files are used for this purpose, and as what.
///
/// # Errors
/// If there are no images, or for a run too few of them.
pub fn contents_for(purpose: Purpose, files: &[File]) -> Result<Contents, ContentsError> {
    let mut unused = Unused::default();
    let runs = layout::runs(files);
    if runs.contains(&&b""[..]) {
        return Err(ContentsError::IsRun);
    }
    let mut images = usable(files, &runs, &mut unused)?;
    if purpose == Purpose::Training {
        check_sufficient(&images, &unused)?;
    }
    images.sort_by(|a, b| a.path.split(is_separator).cmp(b.path.split(is_separator)));
    let Layout { train, tests } = layout::of(images, &mut unused)?;
    let folder = train.path;
    let mut contents = match train.classes(&mut unused) {
        Ok(classes) => {
            let others = files.iter().filter(|file| !runs.iter().any(|run| layout::is_below(&file.path, run)));
            layout::name_empty_classes(folder, &classes, others, &mut unused);
            labelled(&classes, tests, files, &mut unused)?
        }
        Err(images) => unlabelled(&images, tests, &mut unused),
    };
    if contents.test.is_empty() {
        contents.test = hold_out(&mut contents.train);
        contents.is_held_out = true;
    }
    if contents.test.is_empty() && purpose == Purpose::Training {
        return Err(ContentsError::NoTest);
    }
    Ok(Contents { unused, ..contents })
}

/// Returns the images, and counts what is not one.
fn usable<'a>(files: &'a [File], runs: &[&[u8]], unused: &mut Unused) -> Result<Vec<Item<'a>>, ContentsError> {
    let mut images = Vec::new();
    for (file, File { path, look, .. }) in files.iter().enumerate() {
        if path.split(is_separator).any(is_ignored) {
            continue;
        }
        if let Some(run) = runs.iter().find(|run| layout::is_below(path, run)) {
            unused.add_folder(Reason::Run, run);
        } else if matches!(look, Look::Image) {
            images.push(Item { file, path });
        } else if let Some(reason) = Reason::of(path, look) {
            unused.add(reason, path);
        }
    }
    match images.as_slice() {
        [] if unused.is_empty() => Err(ContentsError::Empty),
        [] => Err(ContentsError::NoImages(std::mem::take(unused))),
        _ => Ok(images),
    }
}

/// Checks that a run can train on these images, of which there is at least one.
fn check_sufficient(images: &[Item], unused: &Unused) -> Result<(), ContentsError> {
    let (damaged, examples) = unused.damaged();
    let all = images.len() + damaged;
    match images {
        _ if damaged * IMAGES_PER_DAMAGED > all => Err(ContentsError::Damaged { damaged, images: all, examples }),
        [only] => Err(ContentsError::OneImage(shown(only.path))),
        _ => Ok(()),
    }
}

/// Labels images by their folders, and takes the first folder of test images whose classes are known.
fn labelled(
    classes: &[Folder],
    tests: Vec<Folder>,
    files: &[File],
    unused: &mut Unused,
) -> Result<Contents, ContentsError> {
    let labels: HashMap<&[u8], u32> = classes.iter().map(|class| class.name).zip(0..).collect();
    let train = classes.iter().zip(0..).flat_map(|(class, label)| class.images.iter().map(move |it| (it.file, label)));
    let mut contents = Contents {
        classes: classes.iter().map(|class| shown(class.name)).collect(),
        train: train.collect(),
        ..Contents::default()
    };
    for folder in tests {
        if !contents.test.is_empty() {
            unused.add_images_of(Reason::OtherFolder, &folder);
            continue;
        }
        match test_images(&folder, &labels, files, unused) {
            Ok(images) => contents.test = images,
            // Images to be classified by others, as in Kaggle's competitions.
            Err(_) if folder.name.to_ascii_lowercase().starts_with(b"test") => {
                unused.add_images_of(Reason::OtherFolder, &folder)
            }
            Err(found) => {
                let (folder, count) = (shown(folder.name), folder.images.len());
                return Err(ContentsError::NoTestClasses { folder, count, found });
            }
        }
    }
    Ok(contents)
}

/// Labels test images by the first of their folders that are classes, or else by a list. Returns what is there if there
/// are neither.
fn test_images(
    folder: &Folder,
    labels: &HashMap<&[u8], u32>,
    files: &[File],
    unused: &mut Unused,
) -> Result<Vec<(usize, u32)>, String> {
    let mut level = Level::inside(folder);
    while let [only] = level.folders.as_slice()
        && level.direct.is_empty()
        && !labels.contains_key(only.name)
    {
        level = Level::inside(only);
    }
    let (known, unknown): (Vec<&Folder>, Vec<&Folder>) =
        level.folders.iter().partition(|folder| labels.contains_key(folder.name));
    if !known.is_empty() {
        unknown.iter().for_each(|folder| unused.add_images_of(Reason::UnknownClass, folder));
        unused.add_all(Reason::Direct, &level.direct);
        let label = |folder: &&Folder| labels[folder.name];
        return Ok(known.iter().flat_map(|it| it.images.iter().map(|image| (image.file, label(it)))).collect());
    }
    if level.folders.is_empty() {
        let listed = label_list::apply(&level.direct, labels, files)?;
        unused.remove(&listed.file.path, &listed.file.look);
        let (named, unnamed): (Vec<_>, Vec<_>) =
            level.direct.iter().zip(listed.labels).partition(|(_, label)| label.is_some());
        unnamed.iter().for_each(|(image, _)| unused.add(Reason::Unlisted, image.path));
        return Ok(named.into_iter().filter_map(|(image, label)| Some((image.file, label?))).collect());
    }
    let names: Vec<String> = unknown.iter().map(|folder| shown(folder.name)).collect();
    Err(format!("its folders are {}", some_of(&names, names.len())))
}

fn unlabelled(images: &[Item], tests: Vec<Folder>, unused: &mut Unused) -> Contents {
    let without_labels = |images: &[Item]| images.iter().map(|image| (image.file, 0)).collect();
    let mut tests = tests.into_iter();
    let test = tests.next().map(|folder| without_labels(&folder.images)).unwrap_or_default();
    tests.for_each(|folder| unused.add_images_of(Reason::OtherFolder, &folder));
    Contents { train: without_labels(images), test, ..Contents::default() }
}

/// Moves every tenth image of each class out of `train` and returns them; the last one of a class that has between two
/// and nine.
pub fn hold_out<T>(train: &mut Vec<(T, u32)>) -> Vec<(T, u32)> {
    let mut sizes = HashMap::<u32, usize>::new();
    for (_, label) in &*train {
        *sizes.entry(*label).or_default() += 1;
    }
    let mut places = HashMap::<u32, usize>::new();
    let (test, kept) = train.drain(..).partition(|(_, label)| {
        let place = places.entry(*label).or_default();
        *place += 1;
        place.is_multiple_of(HOLD_OUT.min(sizes[label]).max(2))
    });
    *train = kept;
    test
}

fn is_separator(byte: &u8) -> bool {
    *byte == b'/'
}

/// Says in a line what is used and what is not.
impl fmt::Display for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let used = used([self.train.len(), self.test.len()], self.classes.len(), self.is_held_out);
        write!(formatter, "{used}")?;
        if !self.unused.is_empty() {
            write!(formatter, "; not used: {}", self.unused)?;
        }
        Ok(())
    }
}

/// Says how many images of how many classes are trained on, and tested; if there are no test images, how many there are.
pub fn used([train, test]: [usize; 2], classes: usize, is_held_out: bool) -> String {
    let images = counted(train, "image", "images");
    let labels = if classes == 0 { "without labels".into() } else { format!("in {classes} classes") };
    if test == 0 {
        return format!("{images} {labels}");
    }
    format!("{images} {labels} to train on, {test}{} to test", if is_held_out { " held out" } else { "" })
}

#[cfg(test)]
mod tests;
