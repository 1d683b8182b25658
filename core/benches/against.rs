//! SlimCLR's side of `cargo xtask bench`: a program that reads requests from standard input, one per line.
//!
//! It first prints its name. The first line that it reads is a job in JSON, which it prepares and runs once to warm up.
//! Then it answers each line, including the first, with a timing of the job. It runs only one job, so that its peak
//! memory is that job's.

mod setup;
mod two_stage;

use std::{
    env, fs,
    io::{self, BufRead},
    path::PathBuf,
    time::Instant,
};

use burn::tensor::{Device, Distribution, Tensor};
use futures::executor::block_on;
use serde::{Deserialize, Serialize};
use slimclr_core::{
    augment::Normalisation,
    config::Config,
    data::{decode, sampler::Finish},
    encoder::BackboneKind,
    eval::knn::knn,
    forward::{Forward, Mode},
    head::HEAD,
    interference::Observer,
    method::StepPlan,
    precision::Precision,
    profile::profile,
};

use setup::{PLAN, Views, features, trainer};
use two_stage::System;

/// Shortest measurement, in seconds.
const LEAST: f64 = 0.5;

/// A job to time.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Job {
    /// A training step of all widths, with interference measured or not, and activations recomputed or not. Items are
    /// images.
    Step {
        #[serde(flatten)]
        network: Network,
        observe: bool,
        recompute: bool,
    },
    /// A training step of a system that the paper compares with. Items are images.
    TwoStage {
        #[serde(flatten)]
        network: Network,
        #[serde(flatten)]
        system: System,
    },
    /// The features of a batch at the last of the widths, in evaluation mode. Items are images.
    Evaluate {
        #[serde(flatten)]
        network: Network,
    },
    /// MoCo v2 views of an image file on one core: two per decoding, or all from one decoding. A JPEG file is decoded at
    /// a fraction of its size where `reduce`s; a GPU would finish the views where it `finishes`. Items are views.
    Augment { file: PathBuf, size: usize, decode: bool, reduce: bool, finish: bool },
    /// kNN among random features. Items are test images.
    Neighbours { bank: usize, test: usize, features: usize, k: usize },
    /// A product of square matrices. Items are floating-point operations.
    Multiply { side: usize },
}

/// A network and its inputs.
#[derive(Deserialize)]
struct Network {
    backbone: BackboneKind,
    depth: usize,
    widths: Vec<f64>,
    batch: usize,
    image_size: usize,
    queue: usize,
    precision: Precision,
}

impl Network {
    fn config(self) -> Config {
        let Self { backbone, depth, widths, batch, image_size, queue, precision } = self;
        let recipe = if backbone.is_for_small_images() { Config::cifar10() } else { Config::imagenet_mocov2() };
        Config { backbone, depth, widths, batch, image_size, queue, precision, bn_splits: 1, ..recipe }
    }
}

/// A job that is ready to run.
struct Ready {
    /// Runs it once.
    run: Box<dyn FnMut()>,
    /// Items per run.
    items: f64,
    /// Minimum work per item.
    needs: Needs,
}

/// The minimum work for an item.
#[derive(Clone, Copy, Default, Serialize)]
struct Needs {
    /// Floating-point operations of convolutions and matrix products.
    operations: f64,
    /// Bytes read and written.
    bytes: f64,
}

impl Needs {
    /// Returns a network's operations per image. In 16 bits they are left out: the machine's rate is measured in f32.
    fn of(precision: Precision, operations: f64) -> Self {
        let operations = if precision == Precision::F32 { operations } else { 0.0 };
        Self { operations, ..Self::default() }
    }
}

#[derive(Serialize)]
struct Answer {
    seconds: f64,
    items: f64,
    needs: Needs,
}

impl Job {
    fn prepare(self) -> Ready {
        match self {
            Self::Step { network, observe, recompute } => {
                let config = Config { recompute, ..network.config() };
                let (mut trainer, batch) = trainer(&config);
                let macs: Vec<u64> =
                    profile(&trainer.encoder, config.image_size).iter().map(|width| width.macs).collect();
                let observer = observe.then(|| Observer::new(&trainer.encoder));
                let run = move || {
                    let outcome = trainer.step(batch.clone(), StepPlan { keeps_width_gradients: observe, ..PLAN });
                    if let Some(observer) = &observer {
                        let observed = block_on(observer.observe(&trainer.encoder, &outcome, (1, 0.0)));
                        observed.expect("the CPU does not fail").expect("gradients are finite");
                    }
                };
                // Forward and twice backward for each width, and the keys' forward at full width.
                let operations = 2.0 * (3 * macs.iter().sum::<u64>() + macs[0]) as f64;
                Ready { run: Box::new(run), items: config.batch as f64, needs: Needs::of(config.precision, operations) }
            }
            Self::TwoStage { network, system } => {
                let items = network.batch as f64;
                let (mut trainer, batch, operations) = system.prepare(network);
                let run = move || {
                    trainer.step(batch.clone(), PLAN);
                };
                Ready { run: Box::new(run), items, needs: Needs { operations, ..Needs::default() } }
            }
            Self::Evaluate { network } => {
                let config = network.config();
                let (mut trainer, batch) = trainer(&config);
                let profile = profile(&trainer.encoder, config.image_size);
                let (width, cost) = profile.iter().enumerate().next_back().expect("there are widths");
                let backbone = cost.stages.iter().filter(|stage| stage.name != HEAD);
                let operations = 2.0 * backbone.map(|stage| stage.macs).sum::<u64>() as f64;
                let run = move || {
                    let mut pass = Forward::new(&mut trainer.query, width, Mode::Eval).in_precision(config.precision);
                    pass.features(&trainer.encoder, batch.views[0].clone()).into_data();
                };
                Ready { run: Box::new(run), items: config.batch as f64, needs: Needs::of(config.precision, operations) }
            }
            Self::Augment { file, size, decode, reduce, finish } => {
                let file = fs::read(&file).expect("the image file is there");
                let read = move |reduction: &mut dyn FnMut([usize; 2]) -> usize| {
                    decode::decode_reduced(&file, reduction).expect("the image is intact")
                };
                let whole = read(&mut |_| 1);
                let value = if finish { size_of::<f32>() } else { 1 };
                let bytes = (whole.pixels.pixels.len() + 3 * size * size * value) as f64;
                let finish = if finish { Finish::Host } else { Finish::Device };
                let mut views = Views::new(Normalisation::IMAGENET, size, finish);
                let run = move || {
                    let decoded = decode.then(|| read(&mut |size| if reduce { views.reduction(size) } else { 1 }));
                    views.make(decoded.as_ref().unwrap_or(&whole));
                };
                Ready { run: Box::new(run), items: 2.0, needs: Needs { bytes, ..Needs::default() } }
            }
            Self::Neighbours { bank, test, features: length, k } => {
                let (bank, test) = (features(bank, length), features(test, length));
                let (items, operations) = (test.labels.len() as f64, (2 * bank.labels.len() * length) as f64);
                let run = move || {
                    block_on(knn(&bank, &test, k)).expect("the CPU does not fail");
                };
                Ready { run: Box::new(run), items, needs: Needs { operations, ..Needs::default() } }
            }
            Self::Multiply { side } => {
                let matrix = || Tensor::<2>::random([side; 2], Distribution::Default, &Device::flex());
                let (a, b) = (matrix(), matrix());
                let run = move || {
                    a.clone().matmul(b.clone()).into_data();
                };
                Ready { run: Box::new(run), items: 2.0 * (side as f64).powi(3), needs: Needs::default() }
            }
        }
    }
}

impl Ready {
    /// Runs it for at least [`LEAST`] seconds.
    fn answer(&mut self) -> Answer {
        let (start, mut times) = (Instant::now(), 0.0);
        loop {
            (self.run)();
            times += 1.0;
            let seconds = start.elapsed().as_secs_f64();
            if seconds >= LEAST {
                return Answer { seconds, items: times * self.items, needs: self.needs };
            }
        }
    }
}

fn main() -> io::Result<()> {
    slimclr_core::memory::keep_freed();
    // `cargo bench` runs all benches, but sends this one no job.
    if env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    println!("{}", serde_json::json!({ "is": concat!("SlimCLR ", env!("CARGO_PKG_VERSION")) }));
    let mut lines = io::stdin().lock().lines();
    let Some(job) = lines.next().transpose()? else { return Ok(()) };
    let mut ready = serde_json::from_str::<Job>(&job)?.prepare();
    (ready.run)();
    println!("{}", serde_json::to_string(&ready.answer())?);
    for line in lines {
        line?;
        println!("{}", serde_json::to_string(&ready.answer())?);
    }
    Ok(())
}
