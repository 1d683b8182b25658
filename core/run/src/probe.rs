//! Options of the linear probe, and the recipes of publications (docs/method.md, "Published recipes").

use serde::{Deserialize, Serialize};
use slimclr_network::{
    encoder::{BackboneKind, EncoderConfig},
    head::HeadKind,
};

use crate::{
    config::{Config, ConfigError, in_range},
    method::MethodKind,
    schedule::{Decay, LrSchedule},
};

/// Features per step of the published recipes, and of ours: fewer than the 1024 of SlimCLR's, because most data sets are
/// smaller than ImageNet.
const BATCH: usize = 256;

/// How the probe is trained: by SGD with momentum 0.9.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
// What earlier versions did not write was as in SlimCLR's recipes.
#[serde(default)]
pub struct ProbeConfig {
    /// Passes over the training features.
    pub epochs: u64,
    /// Features per step.
    pub batch: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// Decay of the rate.
    pub decay: Decay,
    /// Fractions of the epochs after which [`Decay::Step`] multiplies the rate by `milestone_factor`.
    pub milestones: Vec<f64>,
    /// Factor of the rate at each milestone.
    pub milestone_factor: f64,
    /// The rate that a cosine tends to.
    pub final_rate: f64,
    /// Whether the rate changes with each step instead of each epoch.
    pub per_step: bool,
    /// Fraction of the epochs in which the rate goes linearly from that of a batch of 256 to `rate`.
    pub warmup: f64,
    /// Weight decay, of biases too.
    pub weight_decay: f64,
    /// The weights before training.
    pub weights: InitialWeights,
    /// What is normalised.
    pub normalisation: ProbeNormalisation,
}

/// The weights of a classifier before training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialWeights {
    /// All 0.
    Zero,
    /// Normal with standard deviation 0.01; the bias is 0.
    Normal,
    /// Uniform between plus and minus `1 / sqrt(features)`, with the bias: PyTorch's default.
    Uniform,
}

/// What a probe normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeNormalisation {
    /// Nothing.
    None,
    /// The features: each image's to unit length, then each by its mean and variance over the training images.
    Features,
    /// The classes' scores, by a batch norm with scale and shift.
    Scores,
}

impl Default for ProbeConfig {
    /// Returns SlimCLR's probe for MoCo v2's features.
    fn default() -> Self {
        let at_1024 = Self {
            epochs: 100,
            batch: 1024,
            rate: 60.0,
            decay: Decay::Step,
            milestones: vec![0.6, 0.8],
            milestone_factor: 0.1,
            final_rate: 0.0,
            per_step: false,
            warmup: 0.0,
            weight_decay: 0.0,
            weights: InitialWeights::Zero,
            normalisation: ProbeNormalisation::None,
        };
        at_1024.at_batch(BATCH)
    }
}

impl ProbeConfig {
    /// Returns the same probe with `batch` features per step, and the rates in proportion.
    pub fn at_batch(self, batch: usize) -> Self {
        let rate = self.rate * batch as f64 / self.batch as f64;
        Self { batch, ..self.at_rate(rate) }
    }

    /// Returns the same probe with this highest learning rate, and the final one in proportion.
    pub fn at_rate(self, rate: f64) -> Self {
        Self { rate, final_rate: self.final_rate * (rate / self.rate), ..self }
    }

    /// Returns the learning rate at a step of an epoch that has `steps` steps.
    pub fn rate_at(&self, epoch: u64, step: u64, steps: u64) -> f64 {
        // The steps of the schedule.
        let (of_epoch, passed) = if self.per_step { (steps, step) } else { (1, 0) };
        let schedule = LrSchedule {
            decay: self.decay,
            peak: self.rate,
            warmup_start: self.rate * BATCH as f64 / self.batch as f64,
            final_rate: self.final_rate,
            total_steps: self.epochs * of_epoch,
            warmup_steps: (self.warmup * self.epochs as f64).round() as u64 * of_epoch,
            steps_per_epoch: of_epoch,
            milestones: self.milestones.iter().map(|share| share * self.epochs as f64).collect(),
            milestone_factor: self.milestone_factor,
        };
        schedule.rate(epoch * of_epoch + passed)
    }

    /// Checks the options.
    ///
    /// # Errors
    /// Names the first option that is not valid.
    pub fn check(&self) -> Result<(), ConfigError> {
        in_range("probe-epochs", self.epochs as f64, self.epochs >= 1, "at least 1")?;
        in_range("probe-batch", self.batch as f64, self.batch >= 1, "at least 1")?;
        in_range("probe-rate", self.rate, self.rate > 0.0 && self.rate.is_finite(), "above 0")
    }
}

/// A publication's recipe of linear evaluation. Rates are for a batch of 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ProbeRecipe {
    /// SlimCLR with MoCo v2: 100 epochs, rate 15 (60 at batch 1024), divided by 10 at epochs 60 and 80
    #[cfg_attr(feature = "clap", value(name = "mocov2"))]
    Mocov2,
    /// SlimCLR with MoCo v3: 90 epochs, rate 0.1 (0.4 at batch 1024), cosine
    #[cfg_attr(feature = "clap", value(name = "mocov3"))]
    Mocov3,
    /// SEED: 100 epochs, rate 30, divided by 10 at epochs 60 and 80; batches other than 256 begin with 5 epochs of warm-up
    Seed,
    /// DisCo: 100 epochs, rate 3, halved at epochs 5, 10, ..., 45, 60 and 80. For a ResNet-18 with SwAV's teacher, they
    /// used --probe-rate 30
    Disco,
    /// BINGO: 120 epochs, cosine from rate 30 to 0.01; for EfficientNets a tenth of both
    Bingo,
    /// CompRess: 40 epochs, rate 0.01, divided by 10 at epochs 15 and 30, weight decay 1e-4; features are scaled to unit
    /// length, then standardised
    Compress,
    /// SimDis: 80 epochs, rate 0.001, cosine by step, batch norm of the classes' scores
    Simdis,
    /// Shi et al., by MoCo's recipe: 100 epochs, rate 30, divided by 10 at epochs 60 and 80
    Shi,
    /// SwAV: 100 epochs, rate 0.3, cosine, weight decay 1e-6
    Swav,
}

impl ProbeRecipe {
    /// Returns the recipe for a network that a run with these options trains: that of its method, or SlimCLR's with MoCo
    /// v2 for a method without one.
    pub fn of_run(config: &Config) -> Self {
        match config.method {
            // What only Shi et al. have of MoCo v2's variants.
            MethodKind::Mocov2 if config.wide_head => Self::Shi,
            MethodKind::Mocov2 | MethodKind::Simclr | MethodKind::Supervised | MethodKind::Kd => Self::Mocov2,
            MethodKind::Mocov3 => Self::Mocov3,
            MethodKind::Seed => Self::Seed,
            MethodKind::Disco => Self::Disco,
            MethodKind::Bingo => Self::Bingo,
            MethodKind::Compress => Self::Compress,
            MethodKind::Simdis => Self::Simdis,
            MethodKind::Swav => Self::Swav,
        }
    }

    /// Returns the recipe for a network of another program, whose method is not known.
    pub fn of_network(network: &EncoderConfig) -> Self {
        if network.head == HeadKind::Mocov3 { Self::Mocov3 } else { Self::Mocov2 }
    }

    /// Returns the probe that it trains on features of this backbone, at a batch of 256.
    pub fn config(self, backbone: BackboneKind) -> ProbeConfig {
        let ours = ProbeConfig::default();
        // As MoCo's own code has it.
        let published = ProbeConfig { rate: 30.0, weights: InitialWeights::Normal, ..ours.clone() };
        match self {
            Self::Mocov2 => ours,
            Self::Mocov3 => ProbeConfig { epochs: 90, rate: 0.1, decay: Decay::Cosine, ..ours },
            Self::Seed => ProbeConfig { warmup: 0.05, ..published },
            Self::Disco => {
                let milestones = [5, 10, 15, 20, 25, 30, 35, 40, 45, 60, 80].map(|epoch| f64::from(epoch) / 100.0);
                ProbeConfig { rate: 3.0, milestones: milestones.into(), milestone_factor: 0.5, ..published }
            }
            Self::Bingo => {
                let bingo = ProbeConfig { epochs: 120, decay: Decay::Cosine, final_rate: 0.01, ..published };
                if is_efficientnet(backbone) { bingo.at_rate(3.0) } else { bingo }
            }
            Self::Compress => ProbeConfig {
                epochs: 40,
                rate: 0.01,
                // The last one is the end.
                milestones: [15, 30, 40].map(|epoch| f64::from(epoch) / 40.0).into(),
                weight_decay: 1e-4,
                weights: InitialWeights::Uniform,
                normalisation: ProbeNormalisation::Features,
                ..published
            },
            Self::Simdis => ProbeConfig {
                epochs: 80,
                rate: 0.001,
                decay: Decay::Cosine,
                per_step: true,
                normalisation: ProbeNormalisation::Scores,
                ..published
            },
            Self::Shi => published,
            Self::Swav => ProbeConfig { rate: 0.3, decay: Decay::Cosine, weight_decay: 1e-6, ..published },
        }
    }
}

fn is_efficientnet(backbone: BackboneKind) -> bool {
    match backbone {
        BackboneKind::EfficientnetB0 | BackboneKind::EfficientnetB1 => true,
        BackboneKind::TfEfficientnetB0 | BackboneKind::TfEfficientnetB1 => true,
        BackboneKind::Cifar | BackboneKind::Resnet | BackboneKind::ResnetCifarStem => false,
        BackboneKind::MobilenetV3Large => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Recipe;

    fn of(recipe: ProbeRecipe) -> ProbeConfig {
        recipe.config(BackboneKind::Resnet)
    }

    /// Returns the rates at the beginnings of these epochs, each of ten steps.
    fn rates<const N: usize>(config: &ProbeConfig, epochs: [u64; N]) -> [f64; N] {
        epochs.map(|epoch| config.rate_at(epoch, 0, 10))
    }

    #[track_caller]
    fn assert_close<const N: usize>(found: [f64; N], expected: [f64; N]) {
        let close = |(found, expected): (&f64, &f64)| (found - expected).abs() < 1e-9 * expected.abs();
        assert!(found.iter().zip(&expected).all(close), "{found:?} are not {expected:?}");
    }

    #[test]
    fn slimclrs_recipes_are_the_papers() {
        let recipes = [ProbeRecipe::Mocov2, ProbeRecipe::Mocov3].map(of);
        assert_eq!(recipes.clone().map(|recipe| recipe.at_batch(1024).rate), [60.0, 0.4]);
        assert_eq!(
            recipes.clone().map(|recipe| (recipe.epochs, recipe.decay)),
            [(100, Decay::Step), (90, Decay::Cosine)]
        );
        assert_close(rates(&recipes[0], [0, 59, 60, 79, 80, 99]), [15.0, 15.0, 1.5, 1.5, 0.15, 0.15]);
        assert_close(rates(&recipes[1], [0, 45]), [0.1, 0.05]);
    }

    #[test]
    fn published_schedules_are_those_of_their_code() {
        assert_close(rates(&of(ProbeRecipe::Seed), [0, 3, 5, 59, 60, 80]), [30.0, 30.0, 30.0, 30.0, 3.0, 0.3]);
        assert_close(rates(&of(ProbeRecipe::Seed).at_batch(1024), [0, 1, 5, 60]), [30.0, 48.0, 120.0, 12.0]);
        let halved = |times| 3.0 * 0.5_f64.powi(times);
        assert_close(
            rates(&of(ProbeRecipe::Disco), [0, 4, 5, 35, 45, 59, 60, 80]),
            [halved(0), halved(0), halved(1), halved(7), halved(9), halved(9), halved(10), halved(11)],
        );
        assert_close(rates(&of(ProbeRecipe::Bingo), [0, 60, 120]), [30.0, 15.005, 0.01]);
        assert_close(rates(&of(ProbeRecipe::Compress), [0, 14, 15, 29, 30, 39]), [1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4]);
        assert_close(rates(&of(ProbeRecipe::Shi), [59, 60, 80]), [30.0, 3.0, 0.3]);
        assert_close(rates(&of(ProbeRecipe::Swav), [0, 50]), [0.3, 0.15]);
        let simdis = of(ProbeRecipe::Simdis);
        assert_close(rates(&simdis, [0, 40]), [0.001, 0.0005]);
        assert!(simdis.rate_at(40, 5, 10) < simdis.rate_at(40, 0, 10), "it changes within an epoch");
        let small = ProbeRecipe::Bingo.config(BackboneKind::TfEfficientnetB0);
        assert_close([small.rate, small.final_rate], [3.0, 0.001]);
    }

    #[test]
    fn milestones_move_with_the_epochs() {
        let short = ProbeConfig { epochs: 10, ..of(ProbeRecipe::Shi) };
        assert_close(rates(&short, [5, 6, 8]), [30.0, 3.0, 0.3]);
    }

    #[test]
    fn a_run_is_probed_by_its_methods_recipe() {
        for (recipe, expected) in [
            (Recipe::Seed, ProbeRecipe::Seed),
            (Recipe::Disco, ProbeRecipe::Disco),
            (Recipe::Bingo, ProbeRecipe::Bingo),
            (Recipe::Compress, ProbeRecipe::Compress),
            (Recipe::Simdis, ProbeRecipe::Simdis),
            (Recipe::Byol, ProbeRecipe::Simdis),
            (Recipe::Kd, ProbeRecipe::Mocov2),
            (Recipe::Shi, ProbeRecipe::Shi),
            (Recipe::Swav, ProbeRecipe::Swav),
        ] {
            assert_eq!(ProbeRecipe::of_run(&recipe.imagenet()), expected, "{recipe:?}");
        }
        assert_eq!(ProbeRecipe::of_run(&Config::cifar10()), ProbeRecipe::Mocov2);
        assert_eq!(ProbeRecipe::of_run(&Config::cifar10_mocov3()), ProbeRecipe::Mocov3);
    }

    #[test]
    fn what_earlier_versions_wrote_is_slimclrs_probe() {
        let json = r#"{"epochs":100,"batch":256,"rate":15.0,"decay":"step"}"#;
        assert_eq!(serde_json::from_str::<ProbeConfig>(json).unwrap(), of(ProbeRecipe::Mocov2));
    }
}
