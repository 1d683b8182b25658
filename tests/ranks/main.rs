//! Ranks that train together do what one process does. Here they are threads; `tests/mpi` starts processes.

#[path = "../generated_images.rs"]
mod generated_images;
mod run;
#[path = "../systems.rs"]
mod systems;
mod threads;

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use futures::executor::block_on;
use slimclr_core::{
    config::Config,
    interference::surgery::Surgery,
    kernel::ranks::Ranks,
    loss::{
        StepLosses,
        contrastive::{cross_entropy, simclr_logits, simclr_logits_over, simclr_targets, simclr_targets_over},
        normalize,
    },
    method::{Batch, MethodKind, StepPlan, Trainer},
    optim::loss_scale::LossScale,
    parameter::Parameters,
};
use systems::{batch, plan, systems, trainer};
use threads::on_ranks;

/// Returns the options of the methods without a teacher.
fn methods() -> Vec<Config> {
    let small = Config {
        batch: 8,
        queue: 16,
        dim: 8,
        hidden: 16,
        multiplier: 1.0,
        image_size: 16,
        widths: vec![1.0, 0.5],
        ..Config::mini()
    };
    let of = |method| Config { method, ..small.clone() };
    vec![
        small.clone(),
        Config { bn_splits: 2, surgery: Surgery::Pcgrad, ..small.clone() },
        of(MethodKind::Mocov3),
        of(MethodKind::Simclr),
        of(MethodKind::Supervised),
    ]
}

/// Returns the part of a batch that a rank has, of as many micro-batches.
fn part_of(batch: &Batch, (rank, count): (usize, usize), accumulate: usize) -> Batch {
    let images = batch.labels.dims()[0] / accumulate / count;
    let starts: Vec<usize> = (0..accumulate).map(|part| (part * count + rank) * images).collect();
    let views = batch
        .views
        .iter()
        .map(|view| Tensor::cat(starts.iter().map(|start| view.clone().narrow(0, *start, images)).collect(), 0));
    Batch {
        views: views.collect(),
        labels: Tensor::cat(starts.iter().map(|start| batch.labels.clone().narrow(0, *start, images)).collect(), 0),
        teacher_features: None,
    }
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter().collect()
}

/// What is left of some steps: each step's losses, the gradient of the first, and all tensors that a checkpoint would hold.
#[derive(Debug, PartialEq)]
struct Trained {
    losses: Vec<f64>,
    first_gradient: Vec<f32>,
    /// Names and values.
    tensors: Vec<(String, Vec<f32>)>,
}

impl Trained {
    /// Takes three steps with `trainer`, which has this part of each batch.
    fn after(config: &Config, mut trainer: Trainer, part_of: impl Fn(&Batch) -> Batch) -> Self {
        let (mut losses, mut first_gradient) = (Vec::new(), Vec::new());
        for step in 0..3 {
            let plan = StepPlan { keeps_width_gradients: step == 1, ..plan(step) };
            let outcome = trainer.step(part_of(&batch(config, step)), plan);
            losses.extend(block_on(StepLosses::read(&[&outcome.losses])).unwrap().remove(0).0);
            if step == 0 {
                first_gradient = values(&outcome.gradients.packed());
            }
        }
        trainer.average_statistics();
        let mut tensors = Vec::new();
        for (network, parameters) in [("query", Some(&trainer.query)), ("key", trainer.key.as_ref())] {
            let named = parameters.into_iter().flat_map(Parameters::named);
            tensors.extend(named.map(|(spec, value)| (format!("{network}.{}", spec.name), values(value))));
        }
        tensors.extend(trainer.queue.iter().map(|queue| ("queue".to_owned(), values(&queue.keys))));
        let of_method = trainer.method.state().into_iter();
        tensors.extend(of_method.map(|tensor| (format!("method.{}", tensor.name), values(&tensor.values))));
        Self { losses, first_gradient, tensors }
    }

    /// Trains on `count` ranks, which must end in the same state.
    fn on(count: usize, config: &Config) -> Self {
        let train = |ranks: Ranks| {
            let place = (ranks.rank(), ranks.count());
            let trainer = Trainer { ranks, ..trainer(config) };
            Self::after(config, trainer, |batch| part_of(batch, place, config.accumulate))
        };
        let mut trained = on_ranks(count, train);
        let first = trained.swap_remove(0);
        for other in trained {
            let differ = first.tensors.iter().zip(&other.tensors).find(|(a, b)| a != b).map(|((name, _), _)| name);
            assert!(first == other, "ranks differ in {differ:?}: {config:?}");
        }
        first
    }

    /// Checks that the losses differ by at most this fraction.
    fn assert_close_losses(&self, other: &Self, allowed: f64, config: &Config) {
        for (a, b) in self.losses.iter().zip(&other.losses) {
            assert!((a - b).abs() < allowed * b.abs().max(1.0), "losses {a} and {b}: {config:?}");
        }
    }

    /// Checks that `other` took the same first step, up to rounding. Norms over a few images amplify rounding from step to
    /// step, so that later losses are only similar.
    fn assert_same_first_step(&self, other: &Self, config: &Config) {
        let [difference, size] = [true, false].map(|is_difference| {
            let pairs = self.first_gradient.iter().zip(&other.first_gradient);
            let part = |(own, others): (&f32, &f32)| if is_difference { own - others } else { *others };
            pairs.map(part).map(|value| value * value).sum::<f32>().sqrt()
        });
        assert!(difference < 1e-4 * size, "the first gradient differs by {difference} of {size}: {config:?}");
        self.assert_close_losses(other, 2e-3, config);
    }

    /// Checks that `other` is the same up to rounding, except for running statistics: that the losses differ by at most
    /// this fraction, and tensors by ten times as much.
    fn assert_close(&self, other: &Self, allowed: f64, config: &Config) {
        self.assert_close_losses(other, allowed, config);
        let compared = |name: &str| !name.contains("running");
        for ((name, own), (_, others)) in
            self.tensors.iter().zip(&other.tensors).filter(|((name, _), _)| compared(name))
        {
            let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
            let difference = norm(&mut own.iter().zip(others).map(|(a, b)| a - b));
            let size = norm(&mut others.iter().copied());
            assert!(
                difference <= 10.0 * allowed as f32 * size + 1e-5,
                "{name} differs by {difference} of {size}: {config:?}"
            );
        }
    }
}

#[test]
fn ranks_equal_as_many_micro_batches() {
    // Of these, the images of a rank meet those of the others; and a teacher in training takes a step for each micro-batch.
    let meets_others =
        |config: &Config| matches!(config.method, MethodKind::Mocov3 | MethodKind::Simclr | MethodKind::Swav);
    let is_of_own_images = |config: &Config| !meets_others(config) && !config.online_teacher;
    for config in methods().into_iter().chain(systems()).filter(|config| is_of_own_images(config)) {
        let accumulated = Config { accumulate: 2, ..config.clone() };
        let expected = Trained::after(&accumulated, trainer(&accumulated), Batch::clone);
        Trained::on(2, &config).assert_close(&expected, 1e-4, &config);
    }
    let [config, ..] = &methods()[..] else { unreachable!("there are methods") };
    let accumulated = Config { accumulate: 4, ..config.clone() };
    let expected = Trained::after(&accumulated, trainer(&accumulated), Batch::clone);
    Trained::on(4, config).assert_close(&expected, 1e-4, config);
    Trained::on(2, &Config { accumulate: 2, ..config.clone() }).assert_close(&expected, 1e-4, config);
}

#[test]
fn with_synchronised_norms_ranks_equal_the_whole_batch() {
    for config in methods().into_iter().chain(systems()) {
        let config = Config { sync_bn: true, bn_splits: 1, ..config };
        // BINGO draws another box to paste on each rank.
        if config.method == MethodKind::Bingo {
            continue;
        }
        let expected = Trained::after(&config, trainer(&config), Batch::clone);
        Trained::on(2, &config).assert_same_first_step(&expected, &config);
    }
    let [.., simclr, _] = &methods()[..] else { unreachable!("there are methods") };
    let config = Config { sync_bn: true, recompute: true, ..simclr.clone() };
    let expected = Trained::after(&config, trainer(&config), Batch::clone);
    Trained::on(4, &config).assert_same_first_step(&expected, &config);
}

#[test]
fn ranks_repeat_bit_for_bit() {
    let with_teacher_in_training = systems().into_iter().filter(|config| config.online_teacher);
    for config in methods().into_iter().chain(with_teacher_in_training) {
        assert_eq!(Trained::on(2, &config), Trained::on(2, &config));
    }
}

#[test]
fn simclrs_gradient_is_that_of_the_whole_batch() {
    let device = Device::flex();
    for count in [2, 4] {
        let images = 3;
        let views: Tensor<3> = Tensor::random([2, count * images, 5], Distribution::Normal(0.0, 1.0), &device);
        let all: TensorData = views.clone().into_data();
        let leaf = views.reshape([2 * count * images, 5]).autodiff().require_grad();
        let targets = simclr_targets(count * images, &device);
        let whole = cross_entropy(simclr_logits(normalize(leaf.clone())), targets, 0.3).loss;
        let expected: Tensor<2> = leaf.grad(&whole.clone().backward()).unwrap();
        let expected: Tensor<3> = expected.reshape([2, count * images, 5]);
        let expected = expected.into_data();
        let whole: f32 = whole.without_autodiff().into_scalar();
        let of_ranks = on_ranks(count, |ranks| {
            let own = |values: &TensorData| {
                let all: Tensor<3> = Tensor::from_data(values.clone(), &Device::flex());
                all.narrow(1, ranks.rank() * images, images).reshape([2 * images, 5])
            };
            let leaf: Tensor<2> = own(&all).autodiff().require_grad();
            let targets = simclr_targets_over(&ranks, images, &Device::flex());
            let loss = cross_entropy(simclr_logits_over(&ranks, normalize(leaf.clone())), targets, 0.3).loss;
            let gradient = leaf.grad(&loss.clone().backward()).unwrap().div_scalar(count as f64);
            let difference: f32 = (gradient - own(&expected)).abs().max().into_scalar();
            assert!(difference < 1e-7, "the gradient of rank {} differs by {difference}", ranks.rank());
            loss.without_autodiff().into_scalar::<f32>()
        });
        let mean = of_ranks.iter().sum::<f32>() / count as f32;
        assert!((mean - whole).abs() < 1e-5, "{mean}, not {whole}");
    }
}

/// In f16, gradients overflow at other moments on other ranks.
#[test]
fn an_overflow_on_one_rank_undoes_the_step_of_all() {
    let [config, ..] = &methods()[..] else { unreachable!("there are methods") };
    let left = on_ranks(2, |ranks| {
        let rank = ranks.rank();
        let mut trainer = Trainer { ranks, loss_scale: Some(LossScale::new(&Device::flex())), ..trainer(config) };
        let before = trainer.query.packed().into_data();
        let mut batch = part_of(&batch(config, 0), (rank, 2), 1);
        if rank == 1 {
            batch.views[0] = batch.views[0].clone().mul_scalar(f32::INFINITY);
        }
        trainer.step(batch, plan(0));
        let scale: Vec<f32> = trainer.loss_scale.unwrap().state().clone().into_data().iter().collect();
        (trainer.query.packed().into_data() == before, scale)
    });
    assert_eq!(left, vec![(true, vec![32768.0, 0.0]); 2]);
}

#[test]
fn bytes_are_joined_in_the_order_of_ranks() {
    for counts in [[1, 3, 0], [0, 0, 0]] {
        let joined = on_ranks(3, |ranks| ranks.gather_bytes(vec![ranks.rank() as u8; counts[ranks.rank()]]));
        let expected: Vec<u8> = (0..3_u8).flat_map(|rank| vec![rank; counts[usize::from(rank)]]).collect();
        assert_eq!(joined, vec![expected; 3]);
    }
}
