//! `cargo bench`: a whole training step at one width and at four, surgery and interference, the augmentation, kNN.

mod setup;

use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use futures::executor::block_on;
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use slimclr_core::{
    augment::Normalisation,
    config::Config,
    data::{decode, sampler::Finish},
    eval::knn::knn,
    image::Image,
    interference::{
        Observer,
        surgery::{Surgery, combine},
    },
    method::StepPlan,
};

use setup::{PLAN, Views, features, trainer};

fn main() {
    divan::main();
}

const WIDTHS: [f64; 4] = [1.0, 0.75, 0.5, 0.25];

/// SlimCLR-MoCov2 on the CIFAR ResNet-20: batch 64, queue 4096, query and key encoder, SGD.
fn cifar(widths: &[f64]) -> Config {
    Config { widths: widths.to_vec(), batch: 64, bn_splits: 1, ..Config::cifar10() }
}

/// A training step.
#[divan::bench(args = [1, 4], sample_count = 7, sample_size = 1)]
fn step(bencher: Bencher, widths: usize) {
    let (mut trainer, batch) = trainer(&cifar(&WIDTHS[..widths]));
    trainer.step(batch.clone(), PLAN);
    bencher.counter(ItemsCount::new(64_usize)).bench_local(|| {
        trainer.step(batch.clone(), PLAN);
    });
}

/// Surgery on the gradients of a step of four widths.
#[divan::bench(args = [Surgery::None, Surgery::Pcgrad, Surgery::Cagrad], sample_count = 20)]
fn surgery(bencher: Bencher, surgery: Surgery) {
    let (mut trainer, batch) = trainer(&cifar(&WIDTHS));
    let outcome = trainer.step(batch, StepPlan { keeps_width_gradients: true, ..PLAN });
    let layout = trainer.encoder.layout();
    bencher.bench_local(|| combine(surgery, layout, &outcome.widths, 0).norm().into_data());
}

/// Measurement of the interference in a step of four widths.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn interference(bencher: Bencher) {
    let (mut trainer, batch) = trainer(&cifar(&WIDTHS));
    let outcome = trainer.step(batch, StepPlan { keeps_width_gradients: true, ..PLAN });
    let observer = Observer::new(&trainer.encoder);
    bencher.bench_local(|| block_on(observer.observe(&trainer.encoder, &outcome, (1, 0.0))).unwrap().is_some());
}

/// MoCo v2 views on one core: of a CIFAR image, and of a photograph (without decoding).
#[divan::bench(args = [(32, 32, 32), (500, 375, 224)], sample_count = 50)]
fn augment(bencher: Bencher, (width, height, size): (usize, usize, usize)) {
    let pixels = (0..3 * width * height).map(|i| (i * 31 % 251) as u8).collect();
    let image = Image::new(width, height, pixels).unwrap().into();
    let mut views = Views::new(Normalisation::CIFAR10, size, Finish::Host);
    bencher.counter(ItemsCount::new(2_usize)).bench_local(|| views.make(&image));
}

/// A photograph's JPEG file: 500 x 375 pixels at quality 90, with detail at all scales as in nature, about 100 kB.
/// Its colours are not subsampled, which takes longer to decode than most files do.
fn photograph() -> Vec<u8> {
    let (width, height) = (500, 375);
    let lattice = |octave: u32, x: u32, y: u32, colour: u32| {
        let hash = [octave, x, y, colour].into_iter().fold(1_u32, |hash, word| (hash ^ word).wrapping_mul(0x9e37_79b1));
        f64::from(hash.wrapping_mul(0x85eb_ca6b) >> 16) / 65536.0 - 0.5
    };
    let value = |x: u32, y: u32, colour: u32| {
        let octaves = (0..8).map(|octave| {
            let cell = 1 << octave;
            let (column, row) = (x / cell, y / cell);
            let [across, down] = [x, y].map(|place| f64::from(place % cell) / f64::from(cell));
            let corner = |right, below| lattice(octave, column + right, row + below, colour);
            let side = |right| corner(right, 0) * (1.0 - down) + corner(right, 1) * down;
            f64::from(cell).powf(0.4) * (side(0) * (1.0 - across) + side(1) * across)
        });
        (128.0 + 21.0 * octaves.sum::<f64>()).clamp(0.0, 255.0) as u8
    };
    let pixels: Vec<u8> =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |colour| value(x, y, colour)))).collect();
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 90).encode(&pixels, width, height, ExtendedColorType::Rgb8).unwrap();
    file
}

/// Decoding of a photograph on one core.
#[divan::bench(sample_count = 50)]
fn decode(bencher: Bencher) {
    let file = photograph();
    bencher.counter(BytesCount::new(file.len())).bench_local(|| decode::decode(&file).unwrap());
}

/// Two MoCo v2 views of a photograph on one core, from its file to 224 pixels.
#[divan::bench(sample_count = 50)]
fn augment_file(bencher: Bencher) {
    let file = photograph();
    let mut views = Views::new(Normalisation::IMAGENET, 224, Finish::Host);
    bencher.counter(ItemsCount::new(2_usize)).bench_local(|| {
        let image = decode::decode_reduced(&file, |size| views.reduction(size)).unwrap();
        views.make(&image);
    });
}

/// kNN of 1,000 test images, 64 features each, in a bank of 50,000.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn neighbours(bencher: Bencher) {
    let (bank, test) = (features(50_000, 64), features(1000, 64));
    bencher.counter(ItemsCount::new(1000_usize)).bench_local(|| block_on(knn(&bank, &test, 200)).unwrap());
}
