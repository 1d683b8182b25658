//! Counts the kernel launches of a training step on WebGPU. A small network's step is bound by them, and their number
//! is the same on every machine.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use burn::tensor::{Device, DeviceKind, Tensor};
use cubecl_runtime::logging::{LaunchObservation, LaunchObserver};
use futures::executor::block_on;
use slimclr_core::{
    augment::{Normalisation, plan::Effects},
    config::{Config, Recipe},
    data::batch::CroppedViews,
    encoder::EncoderConfig,
    forward::{Forward, Mode},
    gradient::{GradientSum, WidthGradient},
    head::HeadKind,
    kernel::views::finish,
    loss::StepLosses,
    method::{Batch, MocoV2Task, PretextTask, StepPlan, Teacher, Trainer, from_config},
    parameter::Parameters,
};

/// Launches by kernel name.
#[derive(Default)]
struct Launches(Mutex<BTreeMap<&'static str, usize>>);

impl LaunchObserver for Launches {
    fn launched(&self, kernel: &'static str) {
        *self.0.lock().unwrap().entry(kernel).or_default() += 1;
    }
}

/// Counts the launches of `work`.
fn launches<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let launches = Arc::new(Launches::default());
    let observation = LaunchObservation::new(launches.clone());
    let result = work();
    drop(observation);
    let launches = launches.0.lock().unwrap();
    (launches.values().sum(), result)
}

/// Counts the launches of a SlimCLR-MoCo v2 step of a ResNet-20 with half the channels, and prints those of each part.
fn step(widths: &[f64]) -> usize {
    let config = Config {
        widths: widths.to_vec(),
        multiplier: 0.5,
        batch: 8,
        queue: 64,
        dim: 32,
        image_size: 16,
        bn_splits: 1,
        ..Config::cifar10()
    };
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let mut trainer = Trainer::new(&config, config.encoder().unwrap().build().unwrap(), &device);
    let batch = Batch::noise(&config, 0, &device);
    let plan = StepPlan { rate: 0.06, key_momentum: 0.99, ..StepPlan::trial(0.0) };
    trainer.step(batch.clone(), plan);
    let encoder = trainer.encoder.clone();
    let layout = encoder.layout().clone();
    println!("{} widths", widths.len());
    let (ema, ()) = launches(|| trainer.key.as_mut().unwrap().ema_update(&trainer.query, 0.99));
    println!("{ema:>6} momentum encoder");
    let mode = Mode::Train { splits: 1 };
    let (keys, keys_of_batch) = launches(|| {
        let mut pass = Forward::new(trainer.key.as_mut().unwrap(), 0, mode);
        slimclr_core::loss::normalize(pass.project(&encoder, batch.views[1].clone()))
    });
    println!("{keys:>6} keys");
    let negatives = trainer.queue.as_ref().unwrap().keys.clone();
    let targets = Tensor::zeros([batch.labels.dims()[0]], &device);
    let views = [batch.views[0].clone()];
    let task = MocoV2Task { views, keys: keys_of_batch, negatives, targets, temperature: config.temperature };
    let (mut gradients, mut teachers) = (Vec::new(), Vec::new());
    for width in 0..widths.len() {
        let mut pass = Forward::tracked(&mut trainer.query, width, mode);
        let (network, output) = launches(|| pass.predict(&encoder, batch.views[0].clone()));
        drop(output);
        let mut pass = Forward::tracked(&mut trainer.query, width, mode);
        let (forward, output) = launches(|| task.output(task.forward(&mut pass, &encoder)));
        let (loss, value) = launches(|| {
            let loss = task.loss(&output);
            trainer.options.weighted(loss, (&output, &teachers), task.targets(), 1.0)
        });
        let (backward, slice_gradients) = launches(|| pass.gradients(value.value));
        gradients.push(WidthGradient::of(&layout, width, slice_gradients));
        teachers.push(output.detached());
        println!("{network:>6} network, {} logits, {loss} loss, {backward} backward", forward - network);
    }
    let (sum, gradients) = launches(|| GradientSum::of(&layout, &gradients));
    println!("{sum:>6} sum of the gradients");
    let (update, ()) = launches(|| trainer.optimizer.step(&mut trainer.query, &gradients, 0.06));
    println!("{update:>6} optimiser");
    let (whole, losses) = launches(|| trainer.step(batch.clone(), plan).losses);
    println!("{whole:>6} whole step");
    let (reading, read) = launches(|| block_on(StepLosses::read(&[&losses])).unwrap());
    println!("{reading:>6} reading of the losses");
    // A launch reads up to six tensors: each width's loss and cross-entropy, and a rank and a divergence for each view.
    assert!(reading <= 1 + (4 * widths.len()).div_ceil(6), "{reading}");
    assert!(read[0].1.iter().all(|monitor| monitor.cross_entropy.is_some_and(f32::is_finite)));
    trainer.options.recompute = true;
    let (recomputing, _) = launches(|| trainer.step(batch, plan).losses);
    println!("{recomputing:>6} whole step with recomputed activations");
    assert!(recomputing > whole);
    assert!(Tensor::cat(losses.weighted, 0).into_data().iter::<f32>().all(f32::is_finite));
    whole
}

/// With Burn's own operations, a step takes 2385 launches at one width and 7451 at four. The limit is a tenth of that.
#[test]
fn a_step_takes_at_most_a_tenth_of_burns_launches() {
    assert!(step(&[1.0]) <= 238);
    assert!(step(&[1.0, 0.75, 0.5, 0.25]) <= 745);
}

/// Makes a plain ResNet-8 that learns as this system does, from a network of the same size, and a batch.
fn system(recipe: Recipe, device: &Device) -> (Trainer, Batch) {
    let tiny = Config { depth: 8, multiplier: 0.5, batch: 8, dim: 32, hidden: 64, image_size: 16, ..Config::cifar10() };
    let config = Config { queue: 64, queue_after: 0.0, freeze: 0.0, ..tiny.with_recipe(recipe) };
    let config = match recipe {
        Recipe::Swav => Config { queue: 16, small_crops: 2, small_size: 8, ..config },
        _ => config,
    };
    let architecture =
        EncoderConfig { multiplier: 0.5, ..EncoderConfig::new(config.backbone, 8, HeadKind::Mocov2, config.dim) };
    let teacher = config.needs_teacher().then(|| {
        let encoder = architecture.build().unwrap();
        let parameters = Parameters::init(encoder.layout().clone(), 1, device);
        Teacher::new(&config, &architecture, (encoder, parameters)).unwrap()
    });
    let encoder = config.encoder().unwrap().build().unwrap();
    let method = from_config(&config, &encoder, teacher, device);
    let query = Parameters::init(encoder.layout().clone(), 0, device);
    (Trainer::with_method(&config, method, encoder, query), Batch::noise(&config, 0, device))
}

/// With one width, SEED takes 194 launches, DisCo 314 and SwAV 557, with three iterations of Sinkhorn for each of two views.
#[test]
fn steps_of_two_stage_methods_take_few_launches() {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    for (recipe, most) in [(Recipe::Seed, 200), (Recipe::Disco, 320), (Recipe::Swav, 570)] {
        let (mut trainer, batch) = system(recipe, &device);
        let plan = StepPlan { rate: 0.06, key_momentum: 0.99, ..StepPlan::trial(0.0) };
        // SwAV's queue of two batches is in use from the third step on.
        (0..3).for_each(|_| drop(trainer.step(batch.clone(), plan)));
        let (whole, losses) = launches(|| trainer.step(batch.clone(), plan).losses);
        println!("{whole:>6} {recipe:?}");
        assert!(whole <= most, "{recipe:?}: {whole}");
        assert!(Tensor::cat(losses.weighted, 0).into_data().iter::<f32>().all(f32::is_finite));
    }
}

/// Views that arrive as bytes are finished in one launch, or in three with blur.
#[test]
fn cropped_views_take_one_launch_or_three() {
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let size = 8;
    for (sigma, expected) in [(None, 1), (Some(1.0), 3)] {
        let effects = Effects { sigma, ..Effects::default() };
        let views = CroppedViews {
            pixels: vec![100; 2 * 3 * size * size],
            size,
            effects: vec![Effects::default(), effects],
            normalisation: Normalisation::CIFAR10,
        };
        let (launched, _) = launches(|| finish(views, &device));
        assert_eq!(launched, expected);
    }
}
