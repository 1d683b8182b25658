//! The first steps of every recipe on real images: how large embeddings and gradients are before anything is learned.
//!
//! A head whose first weights are too small makes short embeddings. Normalising them divides by their length, so that the
//! gradients are too large and the first steps ruin the network. `-- --nocapture` prints a table.

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
    Batch::from_host(views, config.image_size, &Device::flex())
}

fn norm<const D: usize>(tensor: &Tensor<D>) -> f64 {
    tensor.clone().powi_scalar(2).sum().into_data().iter::<f64>().sum::<f64>().sqrt()
}

/// What is largest in the first steps.
struct FirstSteps {
    /// Mean length of the first embeddings of each width, before they are normalised.
    lengths: Vec<f64>,
    /// The gradient's norm at the first step.
    gradient: f64,
    /// The largest ratio of a gradient's norm to its weight's, among the head's and predictor's weights.
    of_head: f64,
}

fn first_steps(config: &Config, images: &[(Image, u32)]) -> FirstSteps {
    config.check().unwrap();
    let mut trainer = Trainer::new(config, config.encoder().unwrap().build().unwrap(), &Device::flex());
    let encoder = trainer.encoder.clone();
    let views = batch(config, images, 0).views.remove(0);
    let lengths = (0..config.widths.len()).map(|width| {
        let mut pass = Forward::new(&mut trainer.query, width, Mode::Train { splits: 1 });
        let embeddings = pass.predict(&encoder, views.clone());
        embeddings.powi_scalar(2).sum_dim(1).sqrt().mean().into_scalar::<f64>()
    });
    let lengths = lengths.collect();
    let mut trainer = Trainer::new(config, encoder.clone(), &Device::flex());
    let schedule = config.schedule(images.len()).unwrap();
    let (mut gradient, mut of_head) = (0.0, 0.0_f64);
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
            gradient = norms.iter().map(|(_, gradient, _)| gradient.powi(2)).sum::<f64>().sqrt();
        }
        for (_, gradient, weight) in norms.iter().filter(|(is_of_head, ..)| *is_of_head) {
            of_head = of_head.max(gradient / weight);
        }
    }
    FirstSteps { lengths, gradient, of_head }
}

/// Every preset for small images, every method, and what changes the size of gradients.
fn recipes() -> Vec<(&'static str, Config)> {
    // A step's time grows with the batch; what is measured does not.
    let small = |config: Config| Config { batch: 64, queue: 1024, bn_splits: 1, ..config };
    let mini = small(Config::mini());
    let naive =
        Config { slow_start: 0.0, distill: Distillation::None, reweighting: Reweighting::Equal, ..mini.clone() };
    vec![
        ("mini", mini.clone()),
        ("cifar10", small(Config::cifar10())),
        ("cifar10-mocov3", small(Config::cifar10_mocov3())),
        ("mini, simclr", Config { method: MethodKind::Simclr, ..mini.clone() }),
        ("mini, supervised", mini.clone().with_supervised().for_classes(10)),
        ("mini, naive", naive.clone()),
        ("mini, no slow start", Config { slow_start: 0.0, ..mini.clone() }),
        ("mini, disjoint", Config { disjoint: true, widths: vec![1.0, 0.5, 0.25], ..mini.clone() }),
        ("mini, half the channels", Config { multiplier: 0.5, ..mini.clone() }),
        ("mini, twice the channels", Config { multiplier: 2.0, ..mini.clone() }),
        ("mini, 8 groups", Config { bn_splits: 8, ..mini.clone() }),
        ("mini, batch of 256", Config { batch: 256, ..mini }),
    ]
}

#[test]
fn no_recipe_starts_with_gradients_that_ruin_its_head() {
    let images = images();
    println!("| recipe | length of embeddings | gradient | head's gradient / weight |\n|---|---|---|---|");
    for (name, config) in recipes() {
        let FirstSteps { lengths, gradient, of_head } = first_steps(&config, &images);
        let shown: Vec<String> = lengths.iter().map(|length| format!("{length:.3}")).collect();
        println!("| {name} | {} | {gradient:.2} | {of_head:.2} |", shown.join(" / "));
        assert!(of_head < 10.0, "{name}: a gradient of the head is {of_head:.0} times its weight");
    }
}
