//! The systems that the paper compares with, each with a slimmable student.

use burn::tensor::Device;
use slimclr_core::{
    config::{Config, Recipe},
    head::HeadKind,
    method::{Batch, StepPlan, Teacher, Trainer, compress::CompressMemory, from_config, simdis::SimdisView},
    parameter::Parameters,
};

/// Returns options with which a step takes milliseconds.
pub fn base() -> Config {
    Config { batch: 8, dim: 8, depth: 8, multiplier: 1.0, image_size: 16, epochs: 2.0, ..Config::mini() }
}

/// Returns the options of every system and of its variants, with a student of two widths.
pub fn systems() -> Vec<Config> {
    let published = Recipe::ALL.map(|recipe| base().with_recipe(recipe));
    let seed = base().with_recipe(Recipe::Seed);
    let compress = base().with_recipe(Recipe::Compress);
    let simdis = base().with_recipe(Recipe::Simdis);
    let variants = [
        Config { small_crops: 2, small_size: 8, ..seed },
        Config { memory: CompressMemory::TwoQueues, ..compress.clone() },
        Config { memory: CompressMemory::OneQueue, dim: 64, ..compress },
        Config { targets: vec![SimdisView::SDv, SimdisView::TSv, SimdisView::TemaDv], online_teacher: false, ..simdis },
        Config { small_crops: 1, small_size: 8, queue: 8, ..base().with_recipe(Recipe::Swav) },
    ];
    let small = |config: Config| {
        let queue = if config.queue == 8 { 8 } else { 16 };
        let teacher = if config.needs_teacher() { "teacher".into() } else { String::new() };
        let (teacher_depth, teacher_multiplier, prototypes) = (8, 1.0, 6);
        let crops = Config { queue_after: 0.0, freeze: 0.1, prototypes, ..config };
        Config {
            widths: vec![1.0, 0.5],
            hidden: 16,
            queue,
            dim: crops.dim.min(64),
            teacher,
            teacher_depth,
            teacher_multiplier,
            ..crops
        }
    };
    published.into_iter().chain(variants).map(small).collect()
}

/// Returns a teacher with random weights, if the method needs one.
pub fn teacher(config: &Config) -> Option<Teacher> {
    let architecture = Config { widths: vec![1.0], seed: 5, ..config.clone() }.encoder().unwrap();
    let architecture = match architecture.head {
        // Of CompRess, features are compared.
        HeadKind::None => Config { widths: vec![1.0], seed: 5, ..base() }.encoder().unwrap(),
        _ => architecture,
    };
    let encoder = architecture.build().unwrap();
    let parameters = Parameters::init(encoder.layout().clone(), 5, &Device::flex());
    config.needs_teacher().then(|| Teacher::new(config, &architecture, (encoder, parameters)).unwrap())
}

pub fn trainer(config: &Config) -> Trainer {
    config.check().unwrap_or_else(|error| panic!("{error}: {config:?}"));
    let (encoder, device) = (config.encoder().unwrap().build().unwrap(), Device::flex());
    let method = from_config(config, &encoder, teacher(config), &device);
    let query = Parameters::init(encoder.layout().clone(), config.seed, &device);
    Trainer::with_method(config, method, encoder, query)
}

pub fn batch(config: &Config, seed: u64) -> Batch {
    Batch::noise(config, seed, &Device::flex())
}

/// Plans a step of all widths.
pub fn plan(step: u64) -> StepPlan {
    StepPlan { rate: 0.05, key_momentum: 0.9, ..StepPlan::trial(step as f64) }
}
