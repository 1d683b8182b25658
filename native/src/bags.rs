//! BINGO's bags: for each training image the most similar others, found once by the teacher and kept in the run's folder.

use std::{collections::HashMap, iter};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use futures::executor::block_on;
use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use slimclr_core::{
    collapse::has_collapsed,
    config::Config,
    data::bags::Bags,
    eval::rankme::rankme,
    method::{MethodKind, Teacher, bingo::most_similar},
    train::Split,
};

use crate::{
    data::{Dataset, loader::Loader},
    feature_cache::FeatureCache,
    files::{read_optional, write_atomically},
    run_folder::RunFolder,
    teacher, teacher_features,
    terminal::{Progress, note, warn},
};

const MEMBERS: &str = "members";
/// The metadata's key of the digest of the images.
const IMAGES: &str = "images";

/// Checks that bags can be made of the images of a run, if its method takes views of their members.
///
/// # Errors
/// If the images are in shards, or there are too few of them.
pub fn check(dataset: &Dataset, config: &Config) -> Result<()> {
    if config.method != MethodKind::Bingo {
        return Ok(());
    }
    let (images, size) = (dataset.len(Split::Train), config.bag);
    ensure!(
        images > size,
        "bag = {size} needs more than {size} training images, but there are {images}: set a smaller --bag"
    );
    dataset.check_random_access()
}

/// Gives the loader of a run whose method takes views of members of bags their bags: those in the run's folder, or new
/// ones, which are then kept there.
///
/// # Errors
/// If the images are in shards, there are too few of them, or the teacher or the images cannot be read.
pub fn add(loader: &mut Loader, folder: &RunFolder, config: &Config, device: &Device) -> Result<()> {
    if config.method != MethodKind::Bingo {
        return Ok(());
    }
    check(loader.images(), config)?;
    let digest = loader.images().summary().train.digest.clone().unwrap_or_default();
    let path = folder.bags_path();
    if let Some(members) = read_optional(&path)?.and_then(|file| read(&file, &digest, config.bag)) {
        return loader.set_bags(Bags::new(members, config.bag)?);
    }
    let teacher = teacher::of_run(folder, config, device)?.context("the run has no teacher, which makes the bags")?;
    let members = make(loader, teacher, config.bag, device)?;
    write_atomically(&path, &file(&members, &digest, config.bag)?)?;
    loader.set_bags(Bags::new(members, config.bag)?)
}

/// Finds the bags by the teacher's features. The bag of a damaged image is the image itself.
fn make(loader: &Loader, mut teacher: Teacher, size: usize, device: &Device) -> Result<Vec<u32>> {
    let images = loader.images().len(Split::Train);
    note("making the bags of similar images, once");
    let features = teacher_features::compute(loader, &mut teacher, &FeatureCache::temporary(), device)?;
    let rank = block_on(rankme(&*features.values))?;
    if has_collapsed(rank) {
        warn(&format!(
            "the teacher's features of all images are alike: they have an effective rank (RankMe) of {rank:.1}. So the bags \
             hold arbitrary images; choose another teacher"
        ));
    }
    let progress = Progress::spinner("comparing all images");
    let found = block_on(most_similar(&*features.values, size))?;
    drop(progress);
    let mut members: Vec<u32> = (0..images as u32).flat_map(|image| iter::repeat_n(image, size)).collect();
    for (image, similar) in features.indices.iter().zip(found.chunks_exact(size)) {
        let similar = similar.iter().map(|row| features.indices[*row as usize] as u32);
        members[image * size..][..size].iter_mut().zip(similar).for_each(|(member, other)| *member = other);
    }
    Ok(members)
}

/// Returns the bytes of the file of bags.
fn file(members: &[u32], digest: &str, size: usize) -> Result<Vec<u8>> {
    let bytes: Vec<u8> = members.iter().flat_map(|member| member.to_le_bytes()).collect();
    let tensor = TensorView::new(Dtype::U32, vec![members.len() / size, size], &bytes)?;
    Ok(serialize([(MEMBERS, tensor)], Some(HashMap::from([(IMAGES.into(), digest.into())])))?)
}

/// Reads the members of bags of this size; `None` if the file is damaged, or of other images.
fn read(file: &[u8], digest: &str, size: usize) -> Option<Vec<u32>> {
    let (_, header) = SafeTensors::read_metadata(file).ok()?;
    if header.metadata().as_ref()?.get(IMAGES)? != digest {
        return None;
    }
    let tensors = SafeTensors::deserialize(file).ok()?;
    let tensor = tensors.tensor(MEMBERS).ok()?;
    if tensor.dtype() != Dtype::U32 || tensor.shape().get(1) != Some(&size) {
        return None;
    }
    Some(tensor.data().as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}
