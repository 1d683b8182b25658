//! Finds the picture that is most similar to each of some pictures, at each width of a trained network.
//!
//! `cargo run --release --package slimclr-core --example embed`

use std::error::Error;

use burn::tensor::Device;
use futures::executor::block_on;
use slimclr_core::{data::sprite_sheet::tiles, embedder::Embedder, image::Image};

pub fn main() -> Result<(), Box<dyn Error>> {
    // Or the bytes of a run's checkpoint, `runs/c10/checkpoint.safetensors`.
    let file = include_bytes!("../web/assets/network.safetensors").to_vec();
    let network = Embedder::read("network.safetensors", file, &Device::flex())?;
    // Or `slimclr_core::data::decode::decode(&std::fs::read("picture.jpg")?)?`.
    let labelled = tiles(include_bytes!("../native/assets/cifar10-test.webp"))?;
    let (pictures, classes): (Vec<Image>, Vec<u32>) = labelled.into_iter().take(200).unzip();
    for width in network.widths().iter().copied() {
        let features = block_on(network.embed(&pictures, width))?;
        let similarity = |a: usize, b: usize| cosine(&features[a], &features[b]);
        let others = |picture| (0..pictures.len()).filter(move |other| *other != picture);
        let nearest =
            |picture| others(picture).max_by(|a, b| similarity(picture, *a).total_cmp(&similarity(picture, *b)));
        let same_class = |picture: &usize| nearest(*picture).is_some_and(|other| classes[other] == classes[*picture]);
        let right = (0..pictures.len()).filter(same_class).count();
        println!("width {width}: the nearest of {} pictures is of the same class for {right}", pictures.len());
        // Of ten classes, a tenth would be right by chance.
        assert!(right > pictures.len() / 5);
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
