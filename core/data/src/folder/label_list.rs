//! The classes of a flat folder of test images, told by a list: Tiny ImageNet's `val_annotations.txt`, Kaggle's
//! `LOC_val_solution.csv`, or one class a line in the order of the images.

use std::collections::HashMap;

use super::{File, layout::Item};
use crate::{look::Look, names::shown};

/// Labels images, sorted by name, by the list that names most of them. Returns what is there if none names any.
pub(super) fn apply(images: &[Item], labels: &HashMap<&[u8], u32>, files: &[File]) -> Result<Vec<Option<u32>>, String> {
    let mut found = "there are no class folders and no list of classes".to_owned();
    let mut best = Vec::new();
    let known = |labels: &[Option<u32>]| labels.iter().flatten().count();
    for File { path, look, .. } in files {
        let Look::Labels(text) = look else { continue };
        let listed = by_name(text, images, labels);
        let listed = if known(&listed) > 0 { listed } else { by_order(text, images, labels) };
        if known(&listed) > known(&best) {
            best = listed;
        } else if is_numbered(text, images.len()) {
            found = format!("{} has numbers of classes, whose order it does not tell", shown(path));
        }
    }
    if best.is_empty() { Err(found) } else { Ok(best) }
}

/// Reads lines of a file's name, with or without extension, and a class; what follows is not read.
fn by_name(text: &str, images: &[Item], labels: &HashMap<&[u8], u32>) -> Vec<Option<u32>> {
    let mut places = HashMap::new();
    for (place, image) in images.iter().enumerate() {
        let name = last(image.path, b'/');
        places.insert(name, place);
        places.entry(&name[..name.iter().rposition(|byte| *byte == b'.').unwrap_or(name.len())]).or_insert(place);
    }
    let mut found = vec![None; images.len()];
    for line in text.lines() {
        let separator = ['\t', ',', ' '].into_iter().find(|separator| line.contains(*separator));
        let Some((name, rest)) = separator.and_then(|separator| line.trim().split_once(separator)) else { continue };
        let field = rest.split(['\t', ',']).next().unwrap_or_default().trim();
        let word = field.split_whitespace().next().unwrap_or_default();
        let label = [field, word].iter().find_map(|class| labels.get(class.as_bytes()));
        if let (Some(place), Some(label)) = (places.get(last(name.trim().as_bytes(), b'/')), label) {
            found[*place] = Some(*label);
        }
    }
    found
}

/// Reads a class for each image; nothing if there is another number of lines, or one is not a class.
fn by_order(text: &str, images: &[Item], labels: &HashMap<&[u8], u32>) -> Vec<Option<u32>> {
    let found: Vec<Option<u32>> = text.lines().map(|line| labels.get(line.trim().as_bytes()).copied()).collect();
    if found.len() == images.len() && found.iter().all(Option::is_some) { found } else { Vec::new() }
}

/// Returns whether a list has a number for each image, as ImageNet's development kit has.
fn is_numbered(text: &str, images: usize) -> bool {
    text.lines().count() == images && text.lines().all(|line| line.trim().parse::<u32>().is_ok())
}

fn last(path: &[u8], separator: u8) -> &[u8] {
    path.rsplit(|byte| *byte == separator).next().unwrap_or_default()
}
