//! Measures how fast images come from a folder of files and from the same images in shards. The command is in
//! docs/performance-log.md.
#![expect(clippy::print_stdout, reason = "a measurement that is read on the terminal")]

use std::{fs, path::Path, time::Instant};

use futures::{StreamExt, executor::block_on};
use image::{ImageFormat, Rgb, RgbImage};
use rayon::prelude::*;
use slimclr_core::{augment::epoch_order, config::Config, data::sampler::Finish, train::Split};

use super::{Loader, prefetch};
use crate::{
    command::pack::pack,
    data::{self, Dataset, dataset::Images, shards::ShardReader},
};

const IMAGES: usize = 1024;
const BATCH: usize = 128;

#[test]
#[ignore = "a measurement, which takes a minute"]
fn images_per_second() {
    let root = tempfile::tempdir().unwrap();
    let [folder, shards] = ["folder", "shards"].map(|name| root.path().join(name));
    write(&folder);
    pack(folder.to_str().unwrap(), &shards).unwrap();
    println!("{:>16} {:>12} {:>12}", "images/s", "read", "two views");
    for round in 1..=3 {
        for source in [&folder, &shards] {
            let name = format!("{}, round {round}", source.file_name().unwrap().display());
            println!("{name:>16} {:>12.0} {:>12.0}", read(&open(source)), views(open(source)));
        }
    }
}

#[test]
#[ignore = "a measurement of a few seconds, which fills the cache folder"]
fn a_start_on_as_many_shards_as_imagenet_has() {
    let root = tempfile::tempdir().unwrap();
    let [folder, shards, linked] = ["folder", "shards", "linked"].map(|name| root.path().join(name));
    write(&folder);
    pack(folder.to_str().unwrap(), &shards).unwrap();
    fs::create_dir(&linked).unwrap();
    for number in 0..1282 {
        let link = linked.join(format!("train-{number:06}.tar"));
        fs::hard_link(shards.join("train-000000.tar"), link).unwrap();
    }
    for start in ["first", "second"] {
        let began = Instant::now();
        let images = open(&linked).len(Split::Train);
        println!("{start} start: {:.2} s for {images} images to train on", began.elapsed().as_secs_f64());
    }
}

fn open(source: &Path) -> Dataset {
    data::open(source.to_str().unwrap()).unwrap()
}

/// Writes as many files as ImageNet has pixels and bytes in each: 500 x 375 JPEGs of about 110 kB.
fn write(folder: &Path) {
    let picture = |number: u32| {
        let noise = |x: u32, y: u32| ((x * 7919 + y * 104_729 + number * 31).wrapping_mul(2_654_435_761) >> 26) as u8;
        let pixels = RgbImage::from_fn(500, 375, |x, y| {
            let noise = noise(x, y);
            Rgb([(x / 2) as u8 ^ noise, (y / 2) as u8 ^ noise, noise.wrapping_mul(3)])
        });
        let mut file = std::io::Cursor::new(Vec::new());
        pixels.write_to(&mut file, ImageFormat::Jpeg).unwrap();
        file.into_inner()
    };
    let pictures: Vec<Vec<u8>> = (0..64).into_par_iter().map(picture).collect();
    println!("{} bytes an image", pictures.iter().map(Vec::len).sum::<usize>() / pictures.len());
    for number in 0..IMAGES * 10 / 9 + 9 {
        let class = folder.join(format!("{}", number % 16));
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join(format!("{number}.jpg")), &pictures[number % pictures.len()]).unwrap();
    }
}

/// Returns the images read in a second, in the order of an epoch as the loader does, without decoding.
fn read(dataset: &Dataset) -> f64 {
    let images = dataset.len(Split::Train);
    let began = Instant::now();
    match dataset.split(Split::Train) {
        Images::Shards(shards) => {
            let order = shards.order();
            let mut reader = ShardReader::start(shards, order.streams(0, 0, 0));
            order.epoch(0, 0).into_iter().for_each(|index| assert!(reader.take(index).is_ok()));
        }
        _ => {
            let read = |index: u32| assert!(dataset.stored(Split::Train, index as usize).is_ok());
            epoch_order(0, 0, images).into_par_iter().for_each(read);
        }
    }
    images as f64 / began.elapsed().as_secs_f64()
}

/// Returns the images of which two views of 224 pixels are made in a second.
fn views(dataset: Dataset) -> f64 {
    let config = Config { batch: BATCH, ..Config::imagenet_mocov2() };
    let batches = dataset.len(Split::Train) / BATCH;
    let loader = Loader::new(dataset, &config, None).unwrap();
    let began = Instant::now();
    let mut made = prefetch(loader.maker.clone(), 0, Finish::Host);
    (0..batches).for_each(|_| assert!(block_on(made.next()).unwrap().is_ok()));
    (batches * BATCH) as f64 / began.elapsed().as_secs_f64()
}
