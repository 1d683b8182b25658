//! Reads the classes of a flat folder of test images from a list: Tiny ImageNet's `val_annotations.txt`, Kaggle's
//! `LOC_val_solution.csv`, or one class a line in the order of the images.

use std::collections::HashMap;

use super::{File, level::Item};
use crate::{look::Look, names::shown};

/// The classes that a list tells.
pub(super) struct Listed<'a> {
    /// The list.
    pub file: &'a File,
    /// The label of each image that it names.
    pub labels: Vec<Option<u32>>,
}

/// Labels images, sorted by name, by the list that names most of them. Returns what is there if none names any.
pub(super) fn apply<'a>(
    images: &[Item],
    labels: &HashMap<&[u8], u32>,
    files: &'a [File],
) -> Result<Listed<'a>, String> {
    let mut found = "there are no class folders and no list of classes".to_owned();
    let mut best: Option<Listed> = None;
    let known = |labels: &[Option<u32>]| labels.iter().flatten().count();
    let places = places(images);
    for file in files {
        let Look::Labels(text) = &file.look else { continue };
        let mut listed = by_name(text, &places, images.len(), labels);
        if known(&listed) == 0 {
            listed = by_order(text, images.len(), labels);
        }
        if known(&listed) > best.as_ref().map_or(0, |best| known(&best.labels)) {
            best = Some(Listed { file, labels: listed });
        } else if is_numbered(text, images.len()) {
            found = format!("{} has numbers of classes, whose order it does not tell", shown(&file.path));
        }
    }
    best.ok_or(found)
}

/// Returns the place of each image by its name, with and without extension.
fn places<'a>(images: &[Item<'a>]) -> HashMap<&'a [u8], usize> {
    let mut places = HashMap::new();
    for (place, image) in images.iter().enumerate() {
        let name = after_slash(image.path);
        places.insert(name, place);
        let stem = name.iter().rposition(|byte| *byte == b'.').unwrap_or(name.len());
        places.entry(&name[..stem]).or_insert(place);
    }
    places
}

/// Reads lines of a file's name, with or without extension, and a class; what follows is not read.
fn by_name(
    text: &str,
    places: &HashMap<&[u8], usize>,
    images: usize,
    labels: &HashMap<&[u8], u32>,
) -> Vec<Option<u32>> {
    let mut found = vec![None; images];
    for line in text.lines() {
        let separator = ['\t', ',', ' '].into_iter().find(|separator| line.contains(*separator));
        let Some((name, rest)) = separator.and_then(|separator| line.trim().split_once(separator)) else { continue };
        let field = rest.split(['\t', ',']).next().unwrap_or_default().trim();
        let word = field.split_whitespace().next().unwrap_or_default();
        let label = [field, word].iter().find_map(|class| labels.get(class.as_bytes()));
        if let (Some(place), Some(label)) = (places.get(after_slash(name.trim().as_bytes())), label) {
            found[*place] = Some(*label);
        }
    }
    found
}

/// Reads a class for each image; nothing if there is another number of lines, or one is not a class.
fn by_order(text: &str, images: usize, labels: &HashMap<&[u8], u32>) -> Vec<Option<u32>> {
    let found: Vec<Option<u32>> = text.lines().map(|line| labels.get(line.trim().as_bytes()).copied()).collect();
    if found.len() == images && found.iter().all(Option::is_some) { found } else { Vec::new() }
}

/// Returns whether a list has a number for each image, as ImageNet's development kit has.
fn is_numbered(text: &str, images: usize) -> bool {
    text.lines().count() == images && text.lines().all(|line| line.trim().parse::<u32>().is_ok())
}

fn after_slash(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}
