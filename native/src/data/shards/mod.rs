//! Images in shards: tar files in WebDataset's layout, named by a pattern with braces or by their folder.

pub mod images;
mod index;
mod reader;

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;
use slimclr_core::{
    augment::Normalisation,
    data::{
        folder::{Purpose, hold_out, used},
        names::shown,
        shards::{Omission, Omitted, expand, is_test},
    },
};

pub use self::reader::ShardReader;
use self::{
    images::{ShardImage, ShardImages},
    index::Index,
};
use super::{
    dataset::{Dataset, Images},
    image_file::shown_path,
};
use crate::terminal::{Progress, note};

/// The file of the classes' names beside the shards, one a line.
pub const CLASSES: &str = "classes.txt";
const EXTENSION: &str = "tar";

/// Lists the shards that the option `data` names: the tar files of a folder that has nothing else to train on, or those
/// of a pattern that ends in `.tar`. Returns `None` if it names something else.
///
/// # Errors
/// If the pattern is malformed, or files are missing.
pub fn named_by(data: &str) -> Result<Option<Vec<PathBuf>>> {
    let folder = Path::new(data);
    if folder.is_dir() {
        return in_folder(folder);
    }
    if !data.ends_with(".tar") && !data.contains(".tar.") && !data.contains(['{', '}']) {
        return Ok(None);
    }
    let paths: Vec<PathBuf> =
        expand(data).with_context(|| format!("data = '{data}'"))?.into_iter().map(PathBuf::from).collect();
    let missing: Vec<&PathBuf> = paths.iter().filter(|path| !path.is_file()).collect();
    if let [first, ..] = missing[..] {
        let (first, hint) = (shown_path(first), pattern_hint(data));
        match paths.len() {
            1 => bail!("data = '{data}': there is no such file{hint}"),
            all if all == missing.len() => {
                bail!("data = '{data}': none of the {all} shards exists, such as {first}{hint}")
            }
            all => bail!(
                "data = '{data}': {} of the {all} shards are missing, the first is {first}; fetch them, or leave them out \
                 of the pattern",
                missing.len()
            ),
        }
    }
    let mut seen = HashSet::new();
    if let Some(twice) = paths.iter().find(|path| !seen.insert(*path)) {
        bail!("data = '{data}': the pattern names {} twice", shown_path(twice));
    }
    Ok(Some(paths))
}

/// Returns a hint for patterns of another kind.
fn pattern_hint(data: &str) -> &'static str {
    if data.contains(['*', '?']) { "; name the shards' folder, or a range such as 'x-{000..099}.tar'" } else { "" }
}

/// Lists the tar files of a folder without images or sub-folders.
fn in_folder(folder: &Path) -> Result<Option<Vec<PathBuf>>> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = list().with_context(|| format!("cannot list {}", shown_path(folder)))?;
    let is_shard =
        |path: &PathBuf| path.extension().is_some_and(|it| it.eq_ignore_ascii_case(EXTENSION)) && path.is_file();
    let is_shards = paths.iter().any(is_shard) && !paths.iter().any(|path| path.is_dir());
    paths.retain(is_shard);
    paths.sort();
    Ok(is_shards.then_some(paths))
}

/// Opens the images in `shards`, which the option `data` names, for this purpose. Those that are named as test images are the test
/// split; if there are none, every tenth image of each class is held out.
///
/// # Errors
/// If a shard cannot be read or is no tar file, or there are no images or, for training, none to test.
pub fn open(data: &str, shards: Vec<PathBuf>, purpose: Purpose) -> Result<Dataset> {
    let progress = Progress::new(shards.len() as u64, "shards", "listing their images");
    let list = |shard: &PathBuf| {
        let index = Index::open(shard).with_context(|| format!("cannot use the shard {}", shown_path(shard)))?;
        progress.inc(1);
        anyhow::Ok(index)
    };
    let indices: Vec<Index> = shards.par_iter().map(list).collect::<Result<_>>()?;
    drop(progress);

    let is_test: Vec<bool> = shards.iter().map(|shard| is_test(&shard.to_string_lossy())).collect();
    // A pattern of such shards alone asks to train on them.
    let has_test = is_test.contains(&true) && is_test.contains(&false);
    let has_labels = indices.iter().flat_map(|index| &index.samples).any(|sample| sample.class.is_some());
    let (mut splits, mut omitted): ([Vec<_>; 2], _) = Default::default();
    for (shard, index) in indices.into_iter().enumerate() {
        let name = |member: &str| shown_path(&shards[shard].join(member)).trim_end_matches('/').to_owned();
        for (why, (count, member)) in index.omitted {
            omit(&mut omitted, why, count, || name(&member));
        }
        for sample in index.samples {
            if has_labels && sample.class.is_none() {
                omit(&mut omitted, Omission::NoClass, 1, || name(&sample.name));
                continue;
            }
            let label = sample.class.unwrap_or(0);
            let image = ShardImage { shard: shard as u32, sample };
            splits[usize::from(has_test && is_test[shard])].push((image, label));
        }
    }
    let unused = describe(&omitted);
    let unused = if unused.is_empty() { unused } else { format!("; not used: {unused}") };
    let [mut train, mut test] = splits;
    if train.is_empty() {
        bail!("data = '{data}': there are no images to train on in {} shards{unused}", shards.len());
    }
    if !has_test {
        test = hold_out(&mut train);
    }
    if test.is_empty() && purpose == Purpose::Training {
        bail!(
            "data = '{data}': there are no test images; add shards named 'val', as in '{{train,val}}-{{000..009}}.tar', or \
             more images of a class"
        );
    }
    let folder = shards[0].parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let classes = if has_labels {
        class_names(folder, train.iter().chain(&test).map(|(_, label)| *label).max().unwrap_or(0))?
    } else {
        Vec::new()
    };
    note(&format!("{}{unused}", used([train.len(), test.len()], classes.len(), !has_test)));
    let images = [train, test].map(|images| Images::Shards(ShardImages { shards: shards.clone(), images }.into()));
    Ok(Dataset::new(data.into(), folder, (classes, Normalisation::IMAGENET), images))
}

fn omit(omitted: &mut Omitted, why: Omission, count: usize, name: impl FnOnce() -> String) {
    omitted.entry(why).or_insert_with(|| (0, name())).0 += count;
}

/// Describes what is not used; empty if that is nothing.
fn describe(omitted: &Omitted) -> String {
    let describe = |(why, (count, name)): (&Omission, &(usize, String))| {
        let first = if *count == 1 { "" } else { "the first is " };
        format!("{} ({first}{name})", why.describe(*count))
    };
    let mut described = omitted.iter().map(describe).collect::<Vec<_>>().join(", ");
    if [Omission::NoImage, Omission::NoClass].iter().all(|why| omitted.contains_key(why)) {
        described.push_str("; the members of a sample must be neighbours, as `tar --sort=name` writes them");
    }
    described
}

/// Reads the names of the classes up to number `last` from their file in `folder`, or else numbers them.
fn class_names(folder: &Path, last: u32) -> Result<Vec<String>> {
    let path = folder.join(CLASSES);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((0..=last).map(|it| it.to_string()).collect());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let names: Vec<String> = text.lines().map(|name| shown(name.as_bytes())).collect();
    if names.len() <= last as usize {
        bail!(
            "{} names {} classes, but the shards have class number {last}: add a line for each class, class 0 first",
            path.display(),
            names.len()
        );
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, sync::Arc};

    use super::*;

    /// Writes shards of samples with the given keys and classes; an image is its key, some times.
    fn write(folder: &Path, shards: &[&[(&str, Option<u32>)]]) -> Vec<PathBuf> {
        let write = |(number, samples): (usize, &&[(&str, Option<u32>)])| {
            let path = folder.join(format!("x-{number}.tar"));
            let mut shard = tar::Builder::new(File::create(&path).unwrap());
            for (key, class) in *samples {
                let class = class.map(|class| ("cls", class.to_string()));
                for (extension, text) in [("jpg", key.repeat(200))].into_iter().chain(class) {
                    let mut header = tar::Header::new_gnu();
                    header.set_size(text.len() as u64);
                    shard.append_data(&mut header, format!("{key}.{extension}"), text.as_bytes()).unwrap();
                }
            }
            shard.finish().unwrap();
            path
        };
        shards.iter().enumerate().map(write).collect()
    }

    #[test]
    fn images_come_in_their_turn_from_any_place_of_the_order() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<String> = (0..90).map(|number| format!("{number:03}")).collect();
        let samples: Vec<_> = keys.iter().map(|key| (key.as_str(), None)).collect();
        let shards = write(folder.path(), &samples.chunks(9).collect::<Vec<_>>());
        let index = |(shard, path): (u32, &PathBuf)| {
            let samples = Index::scan(path).unwrap().samples;
            samples.into_iter().map(move |sample| (ShardImage { shard, sample }, 0))
        };
        let images = (0..).zip(&shards).flat_map(index).collect();
        let images = Arc::new(ShardImages { shards, images });
        let order = images.order();
        for place in [0, 1, 40, 89] {
            let mut reader = ShardReader::start(&images, order.streams(3, 5, place));
            for index in &order.epoch(3, 5)[place..] {
                let expected = keys[*index as usize].repeat(200).into_bytes();
                assert_eq!(reader.take(*index).unwrap(), expected);
                assert_eq!(images.read(*index as usize).unwrap(), expected);
            }
        }
        fs::remove_file(&images.shards[0]).unwrap();
        let mut reader = ShardReader::start(&images, order.streams(3, 5, 0));
        assert_eq!(order.epoch(3, 5).into_iter().filter(|index| reader.take(*index).is_err()).count(), 9);
    }

    #[test]
    fn a_shard_cut_anywhere_gives_the_samples_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = &write(folder.path(), &[&[("a", Some(1)), ("b", Some(0))]])[0];
        let whole = fs::read(path).unwrap();
        let samples = |bytes: usize| {
            fs::write(path, &whole[..bytes]).unwrap();
            let index = Index::scan(path);
            index.map(|index| (index.samples.len(), index.omitted.contains_key(&Omission::CutShort)))
        };
        assert_eq!(samples(whole.len()).unwrap(), (2, false));
        // A header, 200 bytes of image, a header and a byte of class take two blocks each.
        for (bytes, expected) in [(512 + 199, (0, true)), (1024, (1, true)), (2048 + 511, (1, true)), (4096, (2, true))]
        {
            assert_eq!(samples(bytes).unwrap(), expected, "{bytes} bytes");
        }
        assert!(samples(100).unwrap_err().to_string().contains("not a tar file"));
        // A damaged header ends the shard as well.
        let mut damaged = whole.clone();
        damaged[2048] ^= 1;
        fs::write(path, damaged).unwrap();
        assert_eq!(Index::scan(path).unwrap().samples.len(), 1);
    }

    #[test]
    fn classes_are_numbered_if_they_have_no_names() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(class_names(folder.path(), 2).unwrap(), ["0", "1", "2"]);
        fs::write(folder.path().join(CLASSES), "cat\ndog\n").unwrap();
        assert_eq!(class_names(folder.path(), 1).unwrap(), ["cat", "dog"]);
        assert!(class_names(folder.path(), 2).unwrap_err().to_string().contains("names 2 classes"));
    }
}
