//! Features of images by a trained network, at each of its widths.
//!
//! `cargo run --release --package slimclr-core --example load_pretrained`

use std::error::Error;

use burn::tensor::{Device, Tensor, TensorData};
use slimclr_core::{
    augment::{Augmenter, Normalisation},
    data::sprite_sheet::tiles,
    forward::{Forward, Mode},
    interchange::pretrained::Pretrained,
};

pub fn main() -> Result<(), Box<dyn Error>> {
    // Or a file of the authors' code, such as `checkpoint.pth.tar`.
    let network =
        Pretrained::read("network.safetensors", include_bytes!("../web/assets/network.safetensors").to_vec())?;
    let device = Device::flex();
    let (encoder, mut parameters) = network.load(&device)?;
    let (count, size) = (10, network.options().image_size);
    let images = tiles(include_bytes!("../native/assets/cifar10-test.webp"))?;
    let mut pixels = vec![0.0; count * 3 * size * size];
    for ((image, _), pixels) in images.iter().zip(pixels.chunks_exact_mut(3 * size * size)) {
        Augmenter::new().centre(image, size, &Normalisation::CIFAR10, pixels)?;
    }
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [count, 3, size, size]), &device);
    for (index, width) in encoder.layout().widths().iter().enumerate() {
        let features = Forward::new(&mut parameters, index, Mode::Eval).features(&encoder, images.clone());
        println!("width {width}: {count} images, {:?} features", features.dims());
        assert!(features.into_data().iter::<f32>().all(f32::is_finite));
    }
    Ok(())
}
