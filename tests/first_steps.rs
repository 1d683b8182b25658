//! The norms of embeddings and gradients in the first steps of every configuration, on real images.
//!
//! A head with too small initial weights gives short embeddings. Normalisation divides by their norm, so gradients
//! become too large and the first steps ruin the network. `-- --nocapture` prints a table.

use burn::tensor::{Device, Tensor};
use slimclr_core::{
    augment::{Augmenter, Normalisation},
    config::Config,
    data::{sampler::Sampler, sprite_sheet::tiles},
    forward::{Forward, Mode},
    image::Image,
    loss::{distill::Distillation, reweight::Reweighting},
    method::{Batch, MethodKind, StepPlan, Trainer},
};

const STEPS: u64 = 10;

fn images() -> Vec<(Image, u32)> {
    tiles(include_bytes!("../native/assets/cifar10-train.webp")).unwrap()
}

fn batch(config: &Config, images: &[(Image, u32)], step: u64) -> Batch {
    let sampler = Sampler::new(config, Normalisation::CIFAR10);
    let views = sampler.views(&mut Augmenter::new(), images, step).unwrap();
    Batch::from_host(views, &Device::flex())
}

fn norm<const D: usize>(tensor: &Tensor<D>) -> f64 {
    tensor.clone().powi_scalar(2).sum().into_data().iter::<f64>().sum::<f64>().sqrt()
}

/// Norms in the first steps.
struct FirstSteps {
    /// Mean norm of each width's embeddings at the first step, before normalisation.
    embedding_norms: Vec<f64>,
    /// Norm of the gradient at the first step.
    gradient_norm: f64,
    /// The largest ratio of a gradient's norm to its weight's, over the weights of the head and the predictor.
    head_ratio: f64,
}

fn first_steps(config: &Config, images: &[(Image, u32)]) -> FirstSteps {
    config.check().unwrap();
    let mut trainer = Trainer::new(config, config.encoder().unwrap().build().unwrap(), &Device::flex());
    let encoder = trainer.encoder.clone();
    let views = batch(config, images, 0).views.remove(0);
    let embedding_norms = (0..config.widths.len()).map(|width| {
        let mut pass = Forward::new(&mut trainer.query, width, Mode::Train { splits: 1 });
        let embeddings = pass.predict(&encoder, views.clone());
        embeddings.powi_scalar(2).sum_dim(1).sqrt().mean().into_scalar::<f64>()
    });
    let embedding_norms = embedding_norms.collect();
    let mut trainer = Trainer::new(config, encoder.clone(), &Device::flex());
    let schedule = config.schedule(images.len()).unwrap();
    let (mut gradient_norm, mut head_ratio) = (0.0, 0.0_f64);
    for step in 0..STEPS {
        let before = trainer.query.clone();
        let plan = StepPlan { trains_subnetworks: config.slow_start == 0.0, ..schedule.plan(step) };
        let outcome = trainer.step(batch(config, images, step), plan);
        let weights = encoder.layout().iter().filter(|(_, spec)| spec.is_weight());
        let norms: Vec<(bool, f64, f64)> = weights
            .filter_map(|(id, spec)| {
                let gradient = outcome.gradients.get(id)?;
                Some((spec.is_of_head(), norm(gradient), norm(before.get(id))))
            })
            .collect();
        if step == 0 {
            gradient_norm = norms.iter().map(|(_, gradient, _)| gradient.powi(2)).sum::<f64>().sqrt();
        }
        for (_, gradient, weight) in norms.iter().filter(|(is_of_head, ..)| *is_of_head) {
            head_ratio = head_ratio.max(gradient / weight);
        }
    }
    FirstSteps { embedding_norms, gradient_norm, head_ratio }
}

/// Returns every preset for small images, every method, and variants that change the norm of gradients.
fn configurations() -> Vec<(&'static str, Config)> {
    // Smaller batches save time and do not change the norms much.
    let small = |config: Config| Config { batch: 64, queue: 1024, bn_splits: 1, ..config };
    let mini = small(Config::mini());
    let naive =
        Config { slow_start: 0.0, distill: Distillation::None, reweighting: Reweighting::Equal, ..mini.clone() };
    vec![
        ("mini", mini.clone()),
        ("cifar10", small(Config::cifar10())),
        ("cifar10-mocov3", small(Config::cifar10_mocov3())),
        ("mini, simclr", Config { method: MethodKind::Simclr, ..mini.clone() }),
        ("mini, supervised", mini.clone().with_supervised().for_classes(10).unwrap()),
        ("mini, naive", naive.clone()),
        ("mini, no slow start", Config { slow_start: 0.0, ..mini.clone() }),
        ("mini, disjoint", Config { disjoint: true, widths: vec![1.0, 0.5, 0.25], ..mini.clone() }),
        ("mini, half the channels", Config { multiplier: 0.5, ..mini.clone() }),
        ("mini, twice the channels", Config { multiplier: 2.0, ..mini.clone() }),
        ("mini, bn_splits 8", Config { bn_splits: 8, ..mini.clone() }),
        ("mini, batch of 256", Config { batch: 256, ..mini }),
    ]
}

#[test]
fn initial_gradients_of_the_head_are_not_large_against_its_weights() {
    let images = images();
    println!(
        "| configuration | embedding norms | gradient norm | largest gradient / weight of the head |\n|---|---|---|---|"
    );
    for (name, config) in configurations() {
        let FirstSteps { embedding_norms, gradient_norm, head_ratio } = first_steps(&config, &images);
        let shown: Vec<String> = embedding_norms.iter().map(|norm| format!("{norm:.3}")).collect();
        println!("| {name} | {} | {gradient_norm:.2} | {head_ratio:.2} |", shown.join(" / "));
        assert!(head_ratio < 10.0, "{name}: a gradient of the head is {head_ratio:.0} times its weight");
    }
}
