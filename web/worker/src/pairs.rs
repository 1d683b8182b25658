//! Pictures of the current batch with two views of each, and which of them each width finds, for the page to show.

use burn::tensor::{Device, ExecutionError};
use slimclr_core::{
    augment::{AugmentError, Augmenter},
    config::Config,
    data::sampler::Sampler,
    eval::{
        features::Extractor,
        views::{cosines, find_each_other},
    },
    interchange::pretrained::{Pretrained, PretrainedError},
    train::Split,
};
use slimclr_protocol::{Pairs, Report};
use thiserror::Error;

use crate::{browser::report_with, images::Dataset, pixels::to_rgb};

/// Most images that a view is searched among.
const IMAGES: usize = 16;
/// Most images that are shown.
const SHOWN: usize = 6;
/// Side of the pictures that are shown, in pixels.
const SIDE: usize = 32;

/// Why views cannot be compared.
#[derive(Debug, Error)]
pub enum PairsError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] PretrainedError),
    /// An image cannot be resized.
    #[error(transparent)]
    Augment(#[from] AugmentError),
    /// The device failed.
    #[error("the device failed: {0}; reload the page, or choose the CPU")]
    Device(#[from] ExecutionError),
}

/// Reports images of the batch after `step`, two views of each, and which views the checkpoint's network finds.
///
/// # Errors
/// If the checkpoint cannot be read, or the device fails.
pub async fn report_pairs(
    dataset: &Dataset,
    device: &Device,
    (step, checkpoint): (u64, Vec<u8>),
) -> Result<(), PairsError> {
    let trained = Pretrained::read("the checkpoint", checkpoint)?;
    let (encoder, mut parameters) = trained.load(device)?;
    let (config, normalisation) = (trained.options(), dataset.summary.normalisation);
    let sampler = Sampler::new(&config, normalisation);
    let shown = Sampler::new(&Config { image_size: SIDE, ..config }, normalisation);
    let (_, batch) = sampler.batch(step, dataset.len(Split::Train));
    let mut augmenter = Augmenter::new();
    let (mut pictures, mut pairs) = (Vec::new(), Vec::new());
    for index in batch.into_iter().take(IMAGES).map(|index| index as usize) {
        // Training has reported the damaged ones.
        let Some(image) = dataset.image(Split::Train, index).await else { continue };
        if pairs.len() < SHOWN {
            pictures.extend(shown.centre(&mut augmenter, &image)?);
        }
        pairs.push(sampler.pair(&mut augmenter, &image, index)?);
    }
    let images = pairs.len();
    let pairs = sampler.pairs(pairs);
    let mut extractor = Extractor::new(&encoder, &mut parameters, device);
    let first = extractor.embed(pairs.pixels[0].clone(), pairs.size).await;
    let second = extractor.embed(pairs.pixels[1].clone(), pairs.size).await;
    let (mut found, mut is_found, mut of_full) = (Vec::new(), Vec::new(), Vec::new());
    for (first, second) in first.into_iter().zip(second) {
        let cosines = cosines(first, second).await?;
        let mut of_width = find_each_other(&cosines, images);
        found.push(of_width.iter().filter(|is_found| **is_found).count());
        of_width.truncate(SHOWN);
        is_found.push(of_width);
        if of_full.is_empty() {
            let shown = cosines.chunks_exact(images.max(1)).take(SHOWN);
            of_full = shown.map(|row| row.iter().take(SHOWN).copied().collect()).collect();
        }
    }
    let values = images.min(SHOWN) * 3 * pairs.size * pairs.size;
    let [first, second] = pairs.pixels.map(|view| to_rgb(&view[..values], pairs.size, &normalisation));
    let pictures = to_rgb(&pictures, SIDE, &normalisation);
    let sides = [SIDE, pairs.size, pairs.size];
    let pairs = Pairs { step, images, found, is_found, cosines: of_full };
    report_with(&Report::Pairs { pairs, sides }, &[&pictures, &first, &second]);
    Ok(())
}
