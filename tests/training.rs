//! The training step and checkpoints.

use burn::tensor::{Device, Tensor};
use futures::executor::block_on;
use slimclr_core::{
    augment::Normalisation,
    checkpoint::{self, Checkpoint, CheckpointError},
    config::{Config, ConfigError},
    dataset::DatasetSummary,
    encoder::BackboneKind,
    forward::{Forward, Mode},
    loss::{
        Loss, StepLosses,
        contrastive::{cross_entropy, moco_logits, mocov3_logits},
        distill::{Distillation, Output},
        normalize,
    },
    method::{Batch, MethodKind, StepOutcome, StepPlan, Trainer},
    optim::{OptimizerKind, loss_scale::LossScale},
    parameter::Parameters,
    precision::Precision,
    width::WidthError,
};

/// Returns options with which a step takes milliseconds.
fn config() -> Config {
    Config { batch: 4, queue: 16, dim: 8, multiplier: 1.0, image_size: 16, bn_splits: 2, ..Config::mini() }
}

fn dataset() -> DatasetSummary {
    DatasetSummary::without_digests(Normalisation::CIFAR10, vec!["cat".into(), "dog".into()], [8, 2])
}

fn new_trainer(config: &Config) -> Trainer {
    Trainer::new(config, config.encoder().unwrap().build().unwrap(), &Device::flex())
}

fn batch(config: &Config, seed: u64) -> Batch {
    Batch::noise(config, seed, &Device::flex())
}

/// Plans a step at `rate`, of all widths or only of the full network.
fn plan(slim: bool, rate: f64) -> StepPlan {
    StepPlan { trains_subnetworks: slim, rate, ..StepPlan::trial(0.0) }
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter().collect()
}

/// Returns the norm of `a - b`, relative to that of `b`.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()).max(1e-12)
}

/// Computes the gradients of the total loss in one backward pass through all widths, which is the textbook form of the
/// step.
fn joint_gradients(trainer: &Trainer, batch: &Batch) -> Vec<Vec<f32>> {
    let [query_views, key_views] = [0, 1].map(|view| batch.views[view].clone());
    let options = &trainer.options;
    let mode = Mode::Train { splits: 1 };
    let mut key = trainer.key.clone().unwrap();
    let queue = trainer.queue.clone().unwrap().keys;
    let keys = normalize(Forward::new(&mut key, 0, mode).predict(&trainer.encoder, key_views));

    let layout = trainer.encoder.layout();
    let mut leaves = trainer.query.clone();
    for (id, spec) in layout.iter() {
        if spec.is_trained() {
            leaves.update(id, |value| value.autodiff().require_grad());
        }
    }
    let whole: Parameters = leaves.clone();
    let (mut total, mut teachers): (Option<Tensor<1>>, _) = (None, Vec::new());
    for (width, weight) in options.loss_weights.iter().enumerate() {
        let mut pass = Forward::new(&mut leaves, width, mode);
        let embeddings = normalize(pass.predict(&trainer.encoder, query_views.clone()));
        let targets = Tensor::zeros([keys.dims()[0]], &keys.device());
        let logits = moco_logits(embeddings.clone(), keys.clone(), queue.clone());
        let output = Output { embeddings, logits };
        let loss = Loss::choosing(cross_entropy(output.logits.clone(), targets.clone(), config().temperature));
        let loss = options.weighted(loss, (&output, &teachers), Some(&targets), *weight).value;
        total = Some(match total {
            Some(total) => total + loss,
            None => loss,
        });
        teachers.push(output.detached());
    }
    let gradients = total.unwrap().backward();
    layout
        .iter()
        .filter(|(_, spec)| spec.is_trained())
        .map(|(id, _)| values(&whole.get(id).grad(&gradients).unwrap()))
        .collect()
}

#[test]
fn a_step_reports_the_terms_of_its_losses_without_weights() {
    for distill in [Distillation::None, Distillation::MseLogits, Distillation::Dkd, Distillation::Seed] {
        let config = Config { distill, ..config() };
        let mut trainer = new_trainer(&config);
        let losses = trainer.step(batch(&config, 0), plan(true, 0.0)).losses;
        let (weighted, monitors) = block_on(StepLosses::read(&[&losses])).unwrap().remove(0);
        assert_eq!(monitors.len(), config.widths.len());
        for (number, (weighted, monitor)) in weighted.iter().zip(&monitors).enumerate() {
            let contrast = f64::from(monitor.cross_entropy.unwrap());
            let sum = match monitor.divergence.map(f64::from) {
                None => contrast,
                Some(divergence) => (1.0 - config.distill_weight) * contrast + config.distill_weight * divergence,
            };
            assert_eq!(monitor.divergence.is_some(), number > 0 && distill != Distillation::None);
            let rest = weighted / trainer.options.loss_weights[number] - sum;
            if distill == Distillation::Seed && number > 0 {
                // The teacher's entropy at its temperature, nearly that of 17 equal logits, times the squared temperature.
                let entropy = config.distill_weight * config.student_temperature.powi(2) * 17.0_f64.ln();
                assert!((0.95 * entropy..entropy).contains(&rest), "{rest}, not {entropy}");
            } else {
                assert!(rest.abs() < 1e-5 * sum, "{rest} of {sum}: {distill:?}");
            }
        }
    }
    let losses = new_trainer(&config()).step(batch(&config(), 0), plan(false, 0.0)).losses;
    assert_eq!(block_on(StepLosses::read(&[&losses])).unwrap()[0].1.len(), 1, "slow start");
}

#[test]
fn gradients_width_by_width_equal_those_of_one_backward_pass() {
    let config = Config { bn_splits: 1, ..config() };
    let mut trainer = new_trainer(&config);
    let batch = batch(&config, 0);
    let joint = joint_gradients(&trainer, &batch);
    let outcome = trainer.step(batch, plan(true, 0.0));
    let layout = trainer.encoder.layout().clone();
    let trained: Vec<_> = layout.iter().filter(|(_, spec)| spec.is_trained()).collect();
    assert_eq!(trained.len(), joint.len());
    for ((id, spec), joint) in trained.into_iter().zip(&joint) {
        let sequential = values(outcome.gradients.get(id).unwrap());
        // The gradient of the last norm's shift is zero up to rounding, so a relative error means nothing there.
        let error = difference(&sequential, joint);
        assert!(error < 1e-4 || joint.iter().all(|g| g.abs() < 1e-5), "{}: relative error {error}", spec.name);
    }
}

#[test]
fn a_batch_of_noise_has_the_sizes_of_the_methods_views() {
    for (method, sizes) in [(MethodKind::Mocov2, vec![16; 2]), (MethodKind::Swav, vec![16, 16, 8, 8, 8])] {
        let config = Config { method, small_crops: 3, small_size: 8, ..config() };
        let views = batch(&config, 0).views;
        let expected: Vec<[usize; 4]> = sizes.into_iter().map(|size| [4, 3, size, size]).collect();
        assert_eq!(views.iter().map(Tensor::dims).collect::<Vec<_>>(), expected, "{method:?}");
    }
}

/// Returns options of every method for a plain, a slimmable and a disjoint slimmable network.
fn every_kind_of_run() -> Vec<Config> {
    // Without distillation and batch-norm groups, learning from a few images of noise shows within a few steps.
    let base = Config { batch: 8, bn_splits: 1, distill: Distillation::None, ..config() };
    let methods = [MethodKind::Mocov2, MethodKind::Mocov3, MethodKind::Simclr, MethodKind::Supervised];
    let networks = [(vec![1.0], false), (vec![1.0, 0.5], false), (vec![1.0, 0.5, 0.25], true)];
    let runs_of = |method| {
        networks.clone().map(|(widths, disjoint)| Config { method, widths, disjoint, hidden: 16, ..base.clone() })
    };
    methods.into_iter().flat_map(runs_of).map(|config| config.for_classes(8).unwrap()).collect()
}

fn total_loss(trainer: &mut Trainer, batch: &Batch, plan: StepPlan) -> f32 {
    trainer.step(batch.clone(), plan).losses.weighted.iter().map(|loss| values(loss)[0]).sum()
}

#[test]
fn every_method_learns_every_width() {
    for config in every_kind_of_run() {
        config.check().unwrap();
        let mut trainer = new_trainer(&config);
        let batch = batch(&config, 0);
        let before = trainer.query.clone();
        // Otherwise the queue would fill with keys of the same images.
        let queue = trainer.queue.clone();
        let first = total_loss(&mut trainer, &batch, plan(true, 0.02));
        for _ in 0..25 {
            trainer.queue = queue.clone();
            total_loss(&mut trainer, &batch, plan(true, 0.02));
        }
        trainer.queue = queue;
        let last = total_loss(&mut trainer, &batch, plan(true, 0.0));
        assert!(last < first, "{config:?}: the loss went from {first} to {last}");
        for (id, spec) in trainer.encoder.layout().iter() {
            let changed = values(before.get(id)) != values(trainer.query.get(id));
            assert!(changed, "{} has not changed: {config:?}", spec.name);
        }
    }
}

#[test]
fn disjoint_sub_networks_share_weights_only_with_the_full_network() {
    let mut config = Config { widths: vec![1.0, 0.5, 0.25], disjoint: true, ..config() };
    let mut trainer = new_trainer(&config);
    let images = batch(&config, 0).views.remove(0);
    let outputs = |trainer: &mut Trainer| {
        [0, 1, 2].map(|width| {
            let mut pass = Forward::new(&mut trainer.query, width, Mode::Eval);
            values(&pass.features(&trainer.encoder, images.clone()))
        })
    };
    let before = outputs(&mut trainer);
    let layout = trainer.encoder.layout().clone();
    for (id, spec) in layout.iter().filter(|(_, spec)| spec.is_weight()) {
        let narrowest = spec.slice(layout.widths(), 2).unwrap();
        trainer.query.update(id, |value| {
            let halved = value.clone().slice(narrowest.clone()).mul_scalar(0.5);
            value.slice_assign(narrowest, halved)
        });
    }
    let after = outputs(&mut trainer);
    assert_eq!([0, 1, 2].map(|width| before[width] == after[width]), [false, true, false]);
    config.widths = vec![1.0, 0.75, 0.5];
    assert_eq!(config.check(), Err(ConfigError::Width(WidthError::NotDisjoint(1.25))));
}

#[test]
fn an_accumulated_gradient_is_the_mean_of_its_parts() {
    for method in [MethodKind::Mocov2, MethodKind::Mocov3, MethodKind::Simclr, MethodKind::Supervised] {
        let half = Config { method, hidden: 16, bn_splits: 1, ..config() };
        let whole = Config { batch: 2 * half.batch, accumulate: 2, ..half.clone() };
        let labels = |first: i32| Tensor::arange(i64::from(first)..i64::from(first) + 4, &Device::flex());
        let parts = [(0, 1), (1, 4)].map(|(seed, label)| Batch { labels: labels(label), ..batch(&half, seed) });
        let views = parts[0].views.iter().zip(&parts[1].views);
        let both = Batch {
            views: views.map(|(a, b)| Tensor::cat(vec![a.clone(), b.clone()], 0)).collect(),
            labels: Tensor::cat(parts.iter().map(|part| part.labels.clone()).collect(), 0),
            teacher_features: None,
        };
        let mut trainers = [&half, &half, &whole].map(new_trainer);
        let mut batches = parts.into_iter().chain([both]);
        let outcomes = trainers.each_mut().map(|trainer| trainer.step(batches.next().unwrap(), plan(true, 0.0)));
        for (id, spec) in trainers[0].encoder.layout().iter() {
            let gradient = |outcome: &StepOutcome| outcome.gradients.get(id).map(values);
            let [Some(first), Some(second), Some(both)] = outcomes.each_ref().map(gradient) else { continue };
            let mean: Vec<f32> = first.iter().zip(&second).map(|(a, b)| (a + b) / 2.0).collect();
            let error = difference(&both, &mean);
            let is_close = error < 1e-4 || mean.iter().all(|g| g.abs() < 1e-5);
            assert!(is_close, "{method:?}, {}: relative error {error}", spec.name);
        }
        let new_keys = |trainer: &Trainer, count: usize| {
            let queue = trainer.queue.as_ref()?;
            assert_eq!(queue.pointer, count);
            Some(values(&queue.keys.clone().narrow(1, 0, count).transpose()))
        };
        let [first, second] = [0, 1].map(|part| new_keys(&trainers[part], half.batch));
        let expected = first.zip(second).map(|(first, second)| [first, second].concat());
        // The first part updates running statistics, but keys depend only on batch statistics.
        assert_eq!(new_keys(&trainers[2], whole.batch), expected);
    }
}

#[test]
fn recomputing_activations_changes_nothing() {
    let cifar = [MethodKind::Mocov2, MethodKind::Mocov3, MethodKind::Simclr].map(|method| Config {
        method,
        hidden: 16,
        ..config()
    });
    let resnet = Config { backbone: BackboneKind::Resnet, depth: 50, multiplier: 0.25, image_size: 32, ..config() };
    let efficientnet = Config { backbone: BackboneKind::EfficientnetB0, widths: vec![1.0], image_size: 32, ..config() };
    for config in cifar.into_iter().chain([resnet, efficientnet]) {
        let batch = batch(&config, 0);
        let after = |recompute| {
            let mut trainer = new_trainer(&Config { recompute, ..config.clone() });
            let slim = config.widths.len() > 1;
            let losses = trainer.step(batch.clone(), plan(slim, 0.1)).losses.weighted;
            let parameters = trainer.encoder.layout().iter().map(|(id, _)| values(trainer.query.get(id)));
            (losses.iter().map(values).collect::<Vec<_>>(), parameters.collect::<Vec<_>>())
        };
        let (stored, recomputed) = (after(false), after(true));
        assert!(stored == recomputed, "{:?} of {:?}", config.method, config.backbone);
    }
}

#[test]
fn moco_v3_contrasts_each_view_with_the_other_views_key() {
    let config = Config { method: MethodKind::Mocov3, hidden: 16, bn_splits: 1, temperature: 0.7, ..config() };
    let batch = batch(&config, 0);
    let mut trainer = new_trainer(&config);
    let (encoder, mut query, mut key) = (trainer.encoder.clone(), trainer.query.clone(), trainer.key.clone().unwrap());
    let mode = Mode::Train { splits: 1 };
    let queries = batch.views.iter().map(|view| Forward::new(&mut query, 0, mode).predict(&encoder, view.clone()));
    let keys = batch.views.iter().map(|view| Forward::new(&mut key, 0, mode).project(&encoder, view.clone()));
    let [queries, keys] = [queries.collect::<Vec<_>>(), keys.collect()];
    let loss = |query: usize, key: usize| {
        let [query, key] = [&queries[query], &keys[key]].map(|outputs| normalize(outputs.clone()));
        let diagonal = Tensor::arange(0..config.batch as i64, &Device::flex());
        2.0 * 0.7 * values(&cross_entropy(mocov3_logits(query, key), diagonal, 0.7).loss)[0]
    };
    let crossed = loss(0, 1) + loss(1, 0);
    let found = total_loss(&mut trainer, &batch, plan(false, 0.0));
    assert!((found - crossed).abs() < 1e-5 * crossed, "{found} instead of {crossed}");
    assert!((found - loss(0, 0) - loss(1, 1)).abs() > 1e-3, "the test cannot distinguish the views' keys");
}

/// Returns the change of all parameters in a step at rate 1, and the reported norm of the gradient.
fn change(config: &Config, batch: &Batch) -> (Vec<f32>, f32) {
    let mut trainer = new_trainer(config);
    let before = trainer.query.clone();
    let outcome = trainer.step(batch.clone(), plan(true, 1.0));
    let trained = before.layout().iter().filter(|(_, spec)| spec.is_trained());
    let change = trained.flat_map(|(id, _)| values(&(trainer.query.get(id).clone() - before.get(id).clone())));
    (change.collect(), values(&outcome.gradients.norm())[0])
}

#[test]
fn a_clipped_step_is_shorter_in_the_same_direction() {
    let free = Config { weight_decay: 0.0, ..config() };
    let batch = batch(&free, 0);
    let (unclipped, norm) = change(&free, &batch);
    let clipped = |share: f64| change(&Config { clip_norm: share * f64::from(norm), ..free.clone() }, &batch);
    let (shorter, reported) = clipped(0.25);
    assert_eq!(norm, reported, "the reported norm is that before clipping");
    let expected: Vec<f32> = unclipped.iter().map(|step| step * 0.25).collect();
    assert!(difference(&shorter, &expected) < 1e-3);
    assert!(difference(&clipped(4.0).0, &unclipped) < 1e-6, "a smaller gradient was clipped");
}

#[test]
fn bf16_and_f16_train_like_f32() {
    let config = config();
    let batch = batch(&config, 0);
    let losses = |precision| -> Vec<f32> {
        let mut trainer = new_trainer(&Config { precision, ..config.clone() });
        (0..3)
            .flat_map(|_| trainer.step(batch.clone(), plan(true, 0.05)).losses.weighted)
            .map(|loss| values(&loss)[0])
            .collect()
    };
    let full = losses(Precision::F32);
    for precision in [Precision::Bf16, Precision::F16] {
        let error = difference(&losses(precision), &full);
        assert!(error < 2e-2, "{precision:?}: relative error {error}");
    }
}

#[test]
fn losses_in_bf16_follow_those_in_f32_for_200_steps() {
    const TOGETHER: usize = 20;
    let config = Config { batch: 16, queue: 64, bn_splits: 1, ..config() };
    let losses = |precision| -> Vec<f32> {
        let mut trainer = new_trainer(&Config { precision, ..config.clone() });
        let mut step = |number: u64| trainer.step(batch(&config, number % 10), plan(true, 0.05)).losses.weighted;
        (0..200).map(|number| step(number).iter().map(|loss| values(loss)[0]).sum()).collect()
    };
    let (found, expected) = (losses(Precision::Bf16), losses(Precision::F32));
    for (found, expected) in found.chunks(TOGETHER).zip(expected.chunks(TOGETHER)) {
        let [found, expected] = [found, expected].map(|losses| losses.iter().sum::<f32>());
        assert!((found - expected).abs() < 0.02 * expected, "{found}, not {expected}");
    }
}

#[test]
fn an_overflow_skips_the_step_and_halves_the_scale() {
    let config = Config { precision: Precision::F16, ..config() };
    let mut trainer = new_trainer(&config);
    trainer.loss_scale = Some(LossScale::from_state(Tensor::from_data([1e30, 7.0], &Device::flex())));
    let (before, batch) = (trainer.query.clone(), batch(&config, 0));
    trainer.step(batch.clone(), plan(true, 0.05));
    let state = values(trainer.loss_scale.as_ref().unwrap().state());
    assert_eq!(state, [5e29, 0.0]);
    for (id, spec) in before.layout().iter().filter(|(_, spec)| spec.is_trained()) {
        assert_eq!(values(before.get(id)), values(trainer.query.get(id)), "{}", spec.name);
    }
    trainer.loss_scale = Some(LossScale::from_state(Tensor::from_data([8.0, 1999.0], &Device::flex())));
    trainer.step(batch, plan(true, 0.05));
    assert_eq!(values(trainer.loss_scale.as_ref().unwrap().state()), [16.0, 0.0]);
    let changed = before.layout().iter().any(|(id, _)| values(before.get(id)) != values(trainer.query.get(id)));
    assert!(changed, "a step without overflow was skipped");
}

#[test]
fn slow_start_trains_only_the_full_network() {
    let config = config();
    let mut trainer = new_trainer(&config);
    let before = trainer.query.clone();
    let outcome = trainer.step(batch(&config, 0), plan(false, 0.1));
    assert_eq!(outcome.losses.weighted.len(), 1);
    for (id, spec) in trainer.encoder.layout().iter() {
        let changed = values(before.get(id)) != values(trainer.query.get(id));
        let is_in_full = spec.only_width.is_none_or(|width| width == 0);
        assert_eq!(changed, is_in_full, "{}", spec.name);
    }
}

#[test]
fn training_from_a_checkpoint_is_bit_identical() {
    let mixed = Config { precision: Precision::F16, ..config() };
    let optimizers = [OptimizerKind::Lars, OptimizerKind::Larc, OptimizerKind::SimdisLars];
    let optimizers = optimizers.map(|optimizer| Config { optimizer, weight_decay_all: true, ..config() });
    for config in every_kind_of_run().into_iter().chain([mixed]).chain(optimizers) {
        let batches: Vec<_> = (0..4).map(|seed| batch(&config, seed)).collect();
        let mut trainer = new_trainer(&config);
        for batch in &batches[..2] {
            trainer.step(batch.clone(), plan(true, 0.05));
        }
        let bytes = block_on(checkpoint::save(&trainer, &config, &dataset())).unwrap();
        let checkpoint = Checkpoint::read(&bytes).unwrap();
        assert_eq!((checkpoint.step(), checkpoint.config()), (2, &config));
        assert_eq!(checkpoint.dataset(), Some(&dataset()));
        let mut resumed = checkpoint.resume(&Device::flex(), None).unwrap();
        for batch in &batches[2..] {
            trainer.step(batch.clone(), plan(true, 0.05));
            resumed.step(batch.clone(), plan(true, 0.05));
        }
        let [uninterrupted, resumed] =
            [trainer, resumed].map(|trainer| block_on(checkpoint::save(&trainer, &config, &dataset())).unwrap());
        assert!(uninterrupted == resumed, "the resumed run differs: {config:?}");
    }
}

#[test]
fn damaged_checkpoints_are_refused() {
    let config = config();
    let trainer = new_trainer(&config);
    let bytes = block_on(checkpoint::save(&trainer, &config, &dataset())).unwrap();
    let refused = |bytes: &[u8]| Checkpoint::read(bytes).err().expect("the checkpoint is damaged").to_string();
    let [half, whole] = [bytes.len() / 2, bytes.len()];
    assert!(refused(&bytes[..half]).contains(&format!("it was cut short at {half} of {whole} bytes")));
    assert!(refused(b"not a checkpoint").contains("it is not a network but text"));
    assert!(refused(&[]).contains("it is empty"));

    // Checkpoints whose tensors and options belong to different networks.
    let mismatch = |network: &Config, options: &Config| {
        let bytes = block_on(checkpoint::save(&new_trainer(network), options, &dataset())).unwrap();
        match Checkpoint::read(&bytes) {
            Err(CheckpointError::Mismatch(mismatch)) => mismatch,
            other => panic!("no mismatch: {:?}", other.err()),
        }
    };
    let narrow = Config { dim: 4, ..config.clone() };
    let error = mismatch(&narrow, &config);
    assert_eq!((error.missing.len(), error.extra.len(), error.misshapen.len()), (0, 0, 5));
    assert_eq!(
        error.to_string(),
        "the tensors do not fit the network: 5 of another shape (encoder_q.fc.2.weight has shape [4, 64], not [8, 64], \
         encoder_q.fc.2.bias has shape [4], not [8], encoder_k.fc.2.weight has shape [4, 64], not [8, 64], …)"
    );
    let deep = Config { depth: 14, ..config.clone() };
    let [lacks, has_more] = [mismatch(&config, &deep), mismatch(&deep, &config)];
    assert!(lacks.missing.contains(&"encoder_k.features.5.conv1.weight".into()), "{lacks}");
    assert!(lacks.extra.contains(&"encoder_k.features.1.shortcut.0.weight".into()), "{lacks}");
    assert!(has_more.extra.contains(&"encoder_q.features.5.conv1.weight".into()), "{has_more}");
    assert!(has_more.missing.contains(&"encoder_q.features.1.shortcut.0.weight".into()), "{has_more}");
}
