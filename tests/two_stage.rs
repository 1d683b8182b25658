//! The systems that the paper compares with, each with a slimmable student: steps, checkpoints, teachers.

mod systems;

use burn::tensor::{Device, Tensor};
use futures::executor::block_on;
use slimclr_core::{
    augment::Normalisation,
    checkpoint::{self, Checkpoint, CheckpointError},
    config::{Config, Recipe},
    dataset::DatasetSummary,
    event::LossMonitor,
    head::HeadKind,
    loss::StepLosses,
    method::{MethodKind, Teacher, Trainer, compress::CompressMemory, teacher::TeacherError},
    parameter::Parameters,
};
use systems::{base, batch, plan, systems, teacher, trainer};

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter().collect()
}

#[test]
fn every_system_trains_all_parameters_of_both_widths() {
    for config in systems() {
        let mut trainer = trainer(&config);
        let before = trainer.query.clone();
        for step in 0..3 {
            let outcome = trainer.step(batch(&config, step), plan(step));
            let losses: Vec<f32> = outcome.losses.weighted.iter().flat_map(values).collect();
            assert!(losses.len() == 2 && losses.iter().all(|loss| loss.is_finite()), "{losses:?}: {config:?}");
        }
        for (id, spec) in trainer.encoder.layout().iter() {
            let changed = values(before.get(id)) != values(trainer.query.get(id));
            assert!(changed, "{} has not changed: {config:?}", spec.name);
        }
    }
}

#[test]
fn every_system_reports_what_its_loss_consists_of() {
    for config in systems() {
        let losses = trainer(&config).step(batch(&config, 0), plan(0)).losses;
        let (_, monitors) = block_on(StepLosses::read(&[&losses])).unwrap().remove(0);
        let [chooses, has_teacher, predicts] = match config.method {
            MethodKind::Seed | MethodKind::Compress => [false, true, false],
            MethodKind::Kd => [config.kd_weight < 1.0, true, false],
            MethodKind::Disco => [!config.mse_only, true, false],
            MethodKind::Mocov2 | MethodKind::Bingo => [true, false, false],
            MethodKind::Simdis => [false, false, true],
            MethodKind::Swav => [false; 3],
            other => panic!("{other:?} has no teacher"),
        };
        assert_eq!(monitors.len(), 2);
        for monitor in monitors {
            let LossMonitor { cross_entropy, top1, top5, teacher_divergence, cosine, .. } = monitor;
            let choice = [cross_entropy, top1, top5].into_iter().flatten().collect::<Vec<f32>>();
            assert!(choice.len() == if chooses { 3 } else { 0 }, "{monitor:?}: {config:?}");
            assert!(choice.is_empty() || (choice[0] > 0.0 && choice[1] <= choice[2]), "{monitor:?}: {config:?}");
            let found = [teacher_divergence.map(|it| it > -1e-4), cosine.map(|it| it.abs() <= 1.0)];
            assert_eq!(found, [has_teacher, predicts].map(|has| has.then_some(true)), "{monitor:?}: {config:?}");
        }
    }
}

#[test]
fn training_from_a_checkpoint_is_bit_identical() {
    let dataset = DatasetSummary::without_digests(Normalisation::CIFAR10, Vec::new(), [8, 2]);
    let save = |trainer: &Trainer, config: &Config| block_on(checkpoint::save(trainer, config, &dataset)).unwrap();
    for config in systems() {
        let mut uninterrupted = trainer(&config);
        (0..2).for_each(|step| drop(uninterrupted.step(batch(&config, step), plan(step))));
        let bytes = save(&uninterrupted, &config);
        let mut resumed = Checkpoint::read(&bytes).unwrap().resume(&Device::flex(), teacher(&config)).unwrap();
        for trainer in [&mut uninterrupted, &mut resumed] {
            (2..4).for_each(|step| drop(trainer.step(batch(&config, step), plan(step))));
        }
        assert!(save(&uninterrupted, &config) == save(&resumed, &config), "the resumed run differs: {config:?}");
    }
}

#[test]
fn a_checkpoint_without_what_its_method_keeps_is_refused() {
    let dataset = DatasetSummary::without_digests(Normalisation::CIFAR10, Vec::new(), [8, 2]);
    let [seed, ..] = &systems()[..] else { unreachable!("there are systems") };
    let compress = systems().into_iter().find(|config| config.memory == CompressMemory::TwoQueues).unwrap();
    let bytes = block_on(checkpoint::save(&trainer(seed), seed, &dataset)).unwrap();
    assert!(Checkpoint::read(&bytes).unwrap().resume(&Device::flex(), teacher(seed)).is_ok());
    let mut other = trainer(&compress);
    other.method = trainer(seed).method;
    let bytes = block_on(checkpoint::save(&other, &compress, &dataset)).unwrap();
    match Checkpoint::read(&bytes).unwrap().resume(&Device::flex(), teacher(&compress)) {
        Err(CheckpointError::Mismatch(mismatch)) => assert_eq!(mismatch.missing[0], "method.teacher_memory"),
        other => panic!("no mismatch: {:?}", other.err()),
    }
}

#[test]
fn teachers_that_cannot_be_compared_are_refused() {
    let config = Config { dim: 8, teacher: "teacher".into(), ..base().with_recipe(Recipe::Seed) };
    let offered = |config: &Config, outputs: usize, head: HeadKind| {
        let architecture = slimclr_core::encoder::EncoderConfig { head, outputs, ..base().encoder().unwrap() };
        let encoder = architecture.build().unwrap();
        let parameters = Parameters::init(encoder.layout().clone(), 0, &Device::flex());
        Teacher::new(config, &architecture, (encoder, parameters)).map(|_| ())
    };
    assert_eq!(offered(&config, 8, HeadKind::Mocov2), Ok(()));
    let refused = offered(&config, 16, HeadKind::Mocov2);
    assert_eq!(refused, Err(TeacherError::Embedding { found: 16, dim: 8 }));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "its embeddings have 16 dimensions, but the student's have 8: set --dim 16"
    );
    assert_eq!(offered(&config, 8, HeadKind::None), Err(TeacherError::NoHead));
    let compress = Config { memory: CompressMemory::OneQueue, ..config.with_recipe(Recipe::Compress) };
    assert_eq!(offered(&compress, 8, HeadKind::None), Err(TeacherError::Features { found: 64, dim: 8 }));
}
