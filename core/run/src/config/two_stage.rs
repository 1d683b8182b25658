//! The recipes of the systems that the paper compares with (table 1): at ImageNet's scale as published; at CIFAR-10's,
//! for which none of their papers has one, chosen by us.

use super::Config;
use crate::{
    distill::Distillation, method::MethodKind, optimizer::OptimizerKind, reweight::Reweighting, schedule::Decay,
    simdis::SimdisView,
};

/// A system that the paper compares with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipe {
    /// SEED (Fang et al. 2021).
    Seed,
    /// DisCo (Gao et al. 2022).
    Disco,
    /// BINGO (Xu et al. 2022).
    Bingo,
    /// CompRess (Koohpayegani et al. 2020).
    Compress,
    /// SimDis with an online teacher (Gu et al. 2021).
    Simdis,
    /// BYOL (Grill et al. 2020): SimDis without a teacher.
    Byol,
    /// Plain distillation (Hinton et al. 2015).
    Kd,
    /// MoCo v2 with the settings of Shi et al. (2022), to be started from a short SEED run.
    Shi,
    /// SwAV (Caron et al. 2020).
    Swav,
}

impl Recipe {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Seed,
        Self::Disco,
        Self::Bingo,
        Self::Compress,
        Self::Simdis,
        Self::Byol,
        Self::Kd,
        Self::Shi,
        Self::Swav,
    ];

    /// Returns its method.
    pub fn method(self) -> MethodKind {
        match self {
            Self::Seed => MethodKind::Seed,
            Self::Disco => MethodKind::Disco,
            Self::Bingo => MethodKind::Bingo,
            Self::Compress => MethodKind::Compress,
            Self::Simdis | Self::Byol => MethodKind::Simdis,
            Self::Kd => MethodKind::Kd,
            Self::Shi => MethodKind::Mocov2,
            Self::Swav => MethodKind::Swav,
        }
    }

    /// Returns its preset at CIFAR-10's scale, with a ResNet-20 as student.
    pub fn cifar10(self) -> Config {
        let epochs = if self == Self::Compress { 130.0 } else { 200.0 };
        let batch = if self == Self::Swav { 256 } else { 512 };
        Config { epochs, batch, ..Config::cifar10() }.with_recipe(self)
    }

    /// Returns its preset on ImageNet, with a ResNet-18 as student (SwAV: a ResNet-50), as published.
    pub fn imagenet(self) -> Config {
        let (epochs, batch) = match self {
            Self::Compress => (130.0, 256),
            Self::Simdis | Self::Byol => (1000.0, 256),
            Self::Shi => (200.0, 512),
            Self::Swav => (200.0, 4096),
            _ => (200.0, 256),
        };
        let base = Config { epochs, batch, depth: 18, ..Config::imagenet_mocov2() }.with_recipe(self);
        // Of a batch of 256, for the recipes whose rate grows with the batch.
        let base = Config { learning_rate: 0.03, weight_decay: 1e-4, weight_decay_all: true, ..base };
        let moco = Config { queue: 65536, key_momentum: 0.999, temperature: 0.2, bn_splits: 8, ..base.clone() };
        match self {
            Self::Seed => Config { target_temperature: 0.01, ..moco },
            Self::Disco => Config { mse_devices: 8, ..moco },
            Self::Bingo | Self::Kd => moco,
            Self::Compress => Config { queue: 128_000, key_momentum: 0.999, learning_rate: 0.01, bn_splits: 8, ..base },
            Self::Simdis | Self::Byol => {
                let (hidden, dim, depth) = (4096, 256, 50);
                Config { hidden, dim, learning_rate: 0.3, teacher_depth: depth, teacher_multiplier: 1.0, ..base }
            }
            Self::Shi => Config { hidden: 1024, temperature: 0.1, learning_rate: 0.06, ..moco },
            Self::Swav => Config {
                depth: 50,
                prototypes: 3000,
                sinkhorn_epsilon: 0.05,
                queue: 0,
                learning_rate: 4.8,
                final_rate: 0.0048,
                warmup: 10.0 / epochs,
                warmup_start: 0.3,
                small_crops: 6,
                small_size: 96,
                weight_decay: 1e-6,
                ..base
            },
        }
    }
}

impl Config {
    /// Returns the same network, images, batch and epochs with the rest of a system's recipe, at CIFAR-10's scale. The
    /// network is plain, as published; with more `widths` it is slimmable. The teacher is not set.
    pub fn with_recipe(self, recipe: Recipe) -> Self {
        let (batch, epochs) = (self.batch as f64, self.epochs);
        let shared = Self {
            method: recipe.method(),
            widths: vec![1.0],
            disjoint: false,
            slow_start: 0.0,
            distill: Distillation::None,
            reweighting: Reweighting::Equal,
            bn_splits: 1,
            optimizer: OptimizerKind::Sgd,
            learning_rate: 0.06 * batch / 512.0,
            decay: Decay::EpochCosine,
            warmup: 0.0,
            weight_decay_all: true,
            ..self
        };
        match recipe {
            // The cosine continues as if there had been no warm-up.
            Recipe::Seed => {
                Self { temperature: 0.2, target_temperature: 0.05, warmup: 5.0 / 200.0, warmup_start: 0.03, ..shared }
            }
            // Squared errors weigh as in the authors' training, which had 32 images a device.
            Recipe::Disco => Self { hidden: 2048, mse_devices: (shared.batch / 32).max(1), ..shared },
            Recipe::Bingo => Self { hidden: 2048, temperature: 0.2, ..shared },
            Recipe::Compress => Self {
                queue: 16384,
                temperature: 0.04,
                learning_rate: 0.01 * batch / 256.0,
                decay: Decay::Step,
                milestones: vec![90.0 / 130.0 * epochs, 120.0 / 130.0 * epochs],
                milestone_factor: 0.2,
                ..shared
            },
            Recipe::Simdis | Recipe::Byol => Self {
                hidden: 1024,
                dim: 128,
                targets: match recipe {
                    Recipe::Byol => vec![SimdisView::SemaDv],
                    _ => vec![SimdisView::SemaDv, SimdisView::TemaDv],
                },
                online_teacher: recipe == Recipe::Simdis,
                key_momentum: 0.99,
                key_momentum_rises: true,
                optimizer: OptimizerKind::SimdisLars,
                learning_rate: 0.3 * batch / 256.0,
                decay: Decay::Cosine,
                warmup: 10.0 / 1000.0,
                warmup_start: 1e-6,
                weight_decay: 1e-4,
                ..shared
            },
            Recipe::Kd => Self { temperature: 0.2, target_temperature: 0.2, kd_weight: 1.0, ..shared },
            Recipe::Shi => Self { wide_head: true, hidden: 128, temperature: 0.1, strong_colours: true, ..shared },
            Recipe::Swav => Self {
                hidden: 2048,
                temperature: 0.1,
                prototypes: 300,
                // At the published 0.05, the loss of small networks stays at chance level, that of equal shares.
                sinkhorn_epsilon: 0.02,
                // In use from the fifteenth of 200 epochs on.
                queue: 15 * shared.batch,
                queue_after: 15.0 / 200.0 * epochs,
                freeze: 1.0,
                optimizer: OptimizerKind::Larc,
                learning_rate: 0.6 * batch / 256.0,
                final_rate: 0.0006 * batch / 256.0,
                decay: Decay::Swav,
                weight_decay: 1e-6,
                ..shared
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the preset with a teacher, if it needs one.
    fn with_teacher(config: Config) -> Config {
        let teacher = if config.needs_teacher() { "runs/teacher".into() } else { String::new() };
        Config { teacher, ..config }
    }

    #[test]
    fn every_preset_is_valid_once_it_has_its_teacher() {
        for recipe in Recipe::ALL {
            for config in [recipe.cifar10(), recipe.imagenet()] {
                with_teacher(config).check().unwrap_or_else(|error| panic!("{recipe:?}: {error}"));
            }
        }
    }

    #[test]
    fn a_teacher_in_training_is_checked_where_there_is_one() {
        let with_parts = |config| Config { online_teacher: true, accumulate: 2, ..config };
        with_parts(Config::cifar10()).check().unwrap();
        assert!(with_parts(Recipe::Simdis.cifar10()).check().is_err());
        for config in [
            Config { teacher_depth: 1_000_000_000, ..Recipe::Simdis.cifar10() },
            Config { teacher_multiplier: 65.0, ..Recipe::Simdis.cifar10() },
            Config { teacher_multiplier: 0.0, ..Recipe::Simdis.cifar10() },
        ] {
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with("teacher_") && error.contains("must be"), "{error}");
        }
    }

    #[test]
    fn recipes_are_the_published_ones_on_imagenet() {
        let seed = Recipe::Seed.imagenet();
        assert_eq!((seed.queue, seed.learning_rate, seed.batch, seed.epochs), (65536, 0.03, 256, 200.0));
        assert_eq!((seed.temperature, seed.weight_decay, seed.weight_decay_all), (0.2, 1e-4, true));
        // Five flat epochs, then the cosine as if it had run from the start.
        let schedule = seed.schedule(2560).unwrap();
        let rate = |epoch: u64| schedule.plan(epoch * 10).rate;
        assert!((rate(0) - 0.03).abs() < 1e-12 && (rate(4) - 0.03).abs() < 1e-12);
        assert!((rate(100) - 0.015).abs() < 1e-12);
        let compress = Recipe::Compress.imagenet();
        let schedule = compress.schedule(2560).unwrap();
        let rates = [0, 89, 90, 119, 120].map(|epoch: u64| schedule.plan(epoch * 10).rate);
        for (rate, expected) in rates.into_iter().zip([0.01, 0.01, 0.002, 0.002, 0.0004]) {
            assert!((rate - expected).abs() < 1e-9, "{rates:?}");
        }
        let swav = Recipe::Swav.imagenet();
        assert_eq!((swav.batch, swav.prototypes, swav.small_crops, swav.small_size), (4096, 3000, 6, 96));
        assert_eq!(swav.sinkhorn_epsilon, 0.05);
        assert_eq!((swav.learning_rate, swav.final_rate, swav.warmup_start), (4.8, 0.0048, 0.3));
        let byol = Recipe::Byol.imagenet();
        assert_eq!((byol.dim, byol.hidden, byol.learning_rate, byol.epochs), (256, 4096, 0.3, 1000.0));
        assert!(!byol.needs_teacher() && !byol.online_teacher);
        assert_eq!((Recipe::Shi.imagenet().hidden, Recipe::Shi.imagenet().temperature), (1024, 0.1));
    }
}
