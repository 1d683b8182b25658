use std::{fs, path::Path};

use image::{Rgb, RgbImage};
use slimclr_core::{
    augment::Augmenter,
    config::Config,
    data::{
        bags::Bags,
        sampler::{Finish, Sampler},
    },
    image::Image,
    method::MethodKind,
    train::Split,
};

use super::Loader;
use crate::{
    command::pack::pack,
    data::{self, Dataset},
};

/// Writes images of two classes, all different.
fn write(folder: &Path) {
    for number in 0..24 {
        let class = folder.join(format!("{}", number % 2));
        fs::create_dir_all(&class).unwrap();
        let pixel = |x: u32, y: u32| Rgb([x * number, y * number, x + y].map(|value| (7 * value) as u8));
        RgbImage::from_fn(20, 20, pixel).save(class.join(format!("{number}.png"))).unwrap();
    }
}

/// Makes a bag of each image: the two after it.
fn bags(images: usize) -> Bags {
    let bag = |image| [1, 2].map(|offset| ((image + offset) % images) as u32);
    Bags::new((0..images).flat_map(bag).collect(), 2).unwrap()
}

fn open(folder: &Path) -> Dataset {
    data::open(folder.to_str().unwrap()).unwrap()
}

#[test]
fn members_of_bags_are_decoded_beside_the_images() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let dataset = open(folder.path());
    let image = |index| (dataset.image(Split::Train, index).unwrap().into_owned(), dataset.label(Split::Train, index));
    let images: Vec<(Image, u32)> = (0..dataset.len(Split::Train)).map(image).collect();
    let bags = bags(images.len());
    let config = Config { method: MethodKind::Bingo, image_size: 8, batch: 4, ..Config::mini() };
    let mut sampler = Sampler::new(&config, dataset.summary().normalisation);
    sampler.set_bags(bags.clone());
    let mut loader = Loader::new(dataset, &config, None).unwrap();
    loader.set_bags(bags).unwrap();
    for step in [0, 3, 17] {
        let expected = sampler.views(&mut Augmenter::new(), &images, step).unwrap();
        let made = loader.maker.batch(step, Finish::Host, None).unwrap();
        assert_eq!((made.views, made.labels), (expected.views, expected.labels));
    }
}

#[test]
fn bags_that_a_run_cannot_use_are_errors() {
    let root = tempfile::tempdir().unwrap();
    let [folder, shards] = ["folder", "shards"].map(|name| root.path().join(name));
    write(&folder);
    pack(folder.to_str().unwrap(), &shards).unwrap();
    let error = |folder: &Path, images| {
        let mut loader = Loader::new(open(folder), &Config::mini(), None).unwrap();
        loader.set_bags(bags(images)).err().unwrap().to_string()
    };
    let images = open(&folder).len(Split::Train);
    let expected = format!("the bags are of 9 images, but there are {images} training images: make the bags again");
    assert_eq!(error(&folder, 9), expected);
    let refused = error(&shards, images);
    assert!(refused.starts_with("method = bingo needs random access to images, but shards"), "{refused}");
}
