//! The teacher's features of the training images. CompRess may compare with them instead of computing those of each view;
//! they are then kept in the run's folder.

use std::fs;

use anyhow::{Context, Result};
use burn::tensor::Device;
use futures::executor::block_on;
use slimclr_core::{
    config::Config,
    eval::features::{Extractor, Features},
    method::Teacher,
    train::Split,
};

use crate::{data::loader::Loader, feature_cache::FeatureCache, run_folder::RunFolder, teacher, terminal::Progress};

/// Gives the loader of a run that compares with cached features of its teacher these features: those in the run's folder,
/// or new ones, which are then kept there.
///
/// # Errors
/// If the teacher or the images cannot be read, or the disk is full.
pub fn add(loader: &mut Loader, folder: &RunFolder, config: &Config, device: &Device) -> Result<()> {
    if !config.cached_teacher {
        return Ok(());
    }
    let path = folder.teacher_path();
    let weights = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let cache = FeatureCache::of_teacher(folder, &weights, loader.images(), config.image_size)?;
    let cached = cache.read(device).and_then(|[of_training_images, _]| of_training_images.into_iter().next());
    let features = match cached {
        Some(features) => features,
        None => {
            let mut teacher = teacher::of_run(folder, config, device)?.context("the run has no teacher")?;
            compute(loader, &mut teacher, &cache, device)?
        }
    };
    loader.set_teacher_features(features);
    Ok(())
}

/// Computes the teacher's features of the training images' central crops, with running statistics, and writes them to
/// `cache`.
///
/// # Errors
/// If an image cannot be read, the device fails, or the disk is full.
pub fn compute(loader: &Loader, teacher: &mut Teacher, cache: &FeatureCache, device: &Device) -> Result<Features> {
    let images = loader.images().len(Split::Train);
    let progress = Progress::new(images as u64, "images", "computing the teacher's features");
    let Teacher { encoder, parameters, .. } = teacher;
    // Its widest width is used, though it may have others.
    let widths = encoder.layout().widths();
    let sizes: Vec<usize> = (0..widths.len()).map(|width| encoder.backbone().features().at(widths, width)).collect();
    let mut extractor = Extractor::new(encoder, parameters, device);
    let [of_images, _] = cache.write([images, 0], &sizes, device, |writer| {
        block_on(async {
            let chunks = async |chunk| loader.all(Split::Train, chunk).await;
            writer.extract(Split::Train, &mut extractor, &progress, chunks).await
        })
    })?;
    of_images.into_iter().next().context("the teacher has no features")
}
