//! The options of a run, in one struct: command-line flags, TOML file, and the copy saved beside the run.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    encoder::{BackboneKind, BuildError, EncoderConfig},
    head::HeadKind,
    interference::surgery::Surgery,
    loss::{distill::Distillation, reweight::Reweighting},
    method::{Method, Plan},
    optim::{
        OptimizerKind,
        schedule::{Decay, Schedule, cosine_momentum},
    },
    precision::Precision,
    width::{Slices, WidthError, Widths},
};

/// The options of a pre-training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What to train for; presets of the same name have the recipe that goes with it
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value = "mocov2", help_heading = "Method"))]
    pub method: Method,
    /// Temperature of the contrastive logits
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0.1, help_heading = "Method"))]
    pub temperature: f64,
    /// Keys in the queue; a multiple of the batch (MoCo v2)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 4096, help_heading = "Method"))]
    pub queue: usize,
    /// Momentum of the key encoder (MoCo v2 and v3)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0.99, help_heading = "Method"))]
    pub key_momentum: f64,
    /// Let the key encoder's momentum rise to 1 along a cosine
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", help_heading = "Method"))]
    pub key_momentum_rises: bool,
    /// Groups of the batch with batch-norm statistics of their own, as if each were on a device of its own; 1 is
    /// what several devices call synchronised batch norm
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 8, help_heading = "Method"))]
    pub bn_splits: usize,

    /// Kind of backbone. Its convolutions start as Kaiming normal (fan-out), the head's linear layers with deviation
    /// 1 / sqrt(3 inputs), or 0.01 from 2,048 inputs on
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value = "cifar", help_heading = "Network"))]
    pub backbone: BackboneKind,
    /// Layers of the backbone; EfficientNet-B0 has its own number whatever this says
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 20, help_heading = "Network"))]
    pub depth: usize,
    /// Channels of the backbone, as a multiple of the standard ones; below 1 for a network as small as a sub-network
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 1.0, help_heading = "Network"))]
    pub multiplier: f64,
    /// Widths, descending from 1.0 and separated by commas
    #[cfg_attr(
        feature = "clap",
        arg(long, value_delimiter = ',', default_value = "1.0,0.75,0.5,0.25", help_heading = "Network")
    )]
    pub widths: Vec<f64>,
    /// Give the sub-networks channels that they share with the full network only, not with each other
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", help_heading = "Network"))]
    pub disjoint: bool,
    /// Dimension of the embeddings; where labels are trained, there is one output a class whatever this says
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 128, help_heading = "Network"))]
    pub dim: usize,
    /// Hidden channels of the projection head (SimCLR, MoCo v3) and of the predictor (MoCo v3)
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 2048, help_heading = "Network"))]
    pub hidden: usize,

    /// Fraction of the run in which only the full network is trained
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0.5, help_heading = "SlimCLR"))]
    pub slow_start: f64,
    /// Online distillation from the full network to the sub-networks
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value = "seed", help_heading = "SlimCLR"))]
    pub distill: Distillation,
    /// Share of the distillation in a sub-network's loss
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0.5, help_heading = "SlimCLR"))]
    pub distill_weight: f64,
    /// The teacher's temperature
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 5.0, help_heading = "SlimCLR"))]
    pub teacher_temperature: f64,
    /// The student's temperature
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 5.0, help_heading = "SlimCLR"))]
    pub student_temperature: f64,
    /// Let every wider network teach, not only the full one
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", help_heading = "SlimCLR"))]
    pub full_distill: bool,
    /// Weights of the widths' losses: 0 equal, 1 share, 2 width, 3 scaled share, 5 full takes all, 6 cascade, 7 full takes next
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Reweighting::FullTakesAll, help_heading = "SlimCLR"))]
    pub reweighting: Reweighting,
    /// What is done about gradients of widths that point against each other; not in the paper
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value = "none", help_heading = "Interference"))]
    pub surgery: Surgery,
    /// Measure how the widths' gradients interfere, at most 200 times in the run, and keep the weights after each epoch,
    /// at most 200 times. In the run's folder this takes some 250 MB for a ResNet-20, some 25 GB for a ResNet-50
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", help_heading = "Interference"))]
    pub interference: bool,

    /// Passes over the training images; may be fractional
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 200.0, help_heading = "Optimisation"))]
    pub epochs: f64,
    /// Images per step
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 256, help_heading = "Optimisation"))]
    pub batch: usize,
    /// Parts that a batch is computed in, one after the other, to save memory; each has batch-norm statistics of its
    /// own, and among its own images the negatives of SimCLR and MoCo v3
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 1, help_heading = "Optimisation"))]
    pub accumulate: usize,
    /// Compute the activations of blocks once more for the gradients instead of keeping them (activation checkpointing): the
    /// same result with less memory, in more time
    #[cfg_attr(feature = "clap", arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", help_heading = "Optimisation"))]
    pub recompute: bool,
    /// Optimiser
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value = "sgd", help_heading = "Optimisation"))]
    pub optimizer: OptimizerKind,
    /// Highest learning rate
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0.06, help_heading = "Optimisation"))]
    pub learning_rate: f64,
    /// The learning rate is multiplied by this once the sub-networks are trained
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 1.0, help_heading = "Optimisation"))]
    pub slim_rate_factor: f64,
    /// How the learning rate falls
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value = "cosine", help_heading = "Optimisation"))]
    pub decay: Decay,
    /// Fraction of the run over which the learning rate rises
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0.05, help_heading = "Optimisation"))]
    pub warmup: f64,
    /// Epochs at which the step schedule takes a tenth, separated by commas
    #[cfg_attr(
        feature = "clap",
        arg(long, value_delimiter = ',', default_value = "120,160", help_heading = "Optimisation")
    )]
    pub milestones: Vec<f64>,
    /// Momentum of the gradient
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0.9, help_heading = "Optimisation"))]
    pub momentum: f64,
    /// Weight decay; on weights only, not on norms or biases
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 5e-4, help_heading = "Optimisation"))]
    pub weight_decay: f64,
    /// Highest norm of the gradient, which is scaled down to it; 0 for none
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0.0, help_heading = "Optimisation"))]
    pub clip_norm: f64,
    /// What convolutions and linear layers compute in during training
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value = "f32", help_heading = "Optimisation"))]
    pub precision: Precision,

    /// Side of the square views, in pixels
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 32, help_heading = "Data"))]
    pub image_size: usize,
    /// Images: 'embedded', a folder of CIFAR-10 batches, or a folder with one sub-folder a class
    #[cfg_attr(feature = "clap", arg(long, default_value = "embedded", help_heading = "Data"))]
    pub data: String,

    /// Weights to begin with, of a run's folder, a checkpoint, or a PyTorch file of the authors' code: the backbone's,
    /// and the head's if it is the same; none if empty
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "RUN", default_value = "", hide_default_value = true, help_heading = "Data")
    )]
    pub init: String,

    /// Neighbours that vote in the kNN evaluation
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 200, help_heading = "Evaluation"))]
    pub knn: usize,
    /// Epochs between kNN evaluations; there is always one before training and one after
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 10.0, help_heading = "Evaluation"))]
    pub evaluate_every: f64,

    /// Seed of everything random: the same seed gives the same run
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64), help_heading = "Run"))]
    pub seed: u64,
    /// Where to compute: auto, cpu, vulkan, webgpu or cuda, with a number for one of several, as in cuda:1
    #[cfg_attr(feature = "clap", arg(long, default_value = "auto", help_heading = "Run"))]
    pub device: String,
    /// Epochs between checkpoints; there is always one at the end
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 1.0, help_heading = "Run"))]
    pub checkpoint_every: f64,
}

/// Why a run cannot have these options.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConfigError {
    /// The widths.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// The network.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A number out of its range.
    #[error("{key} = {value} must be {rule}")]
    Range {
        /// The option.
        key: &'static str,
        /// What it was given.
        value: f64,
        /// What it must be.
        rule: &'static str,
    },
    /// Contrast needs something to tell apart.
    #[error("batch = {batch} does not divide into accumulate = {parts} parts of at least 2 images")]
    Parts {
        /// Images per step.
        batch: usize,
        /// Parts.
        parts: usize,
    },
    /// Every batch replaces one batch of the queue.
    #[error("queue = {queue} is not divisible by batch = {batch}: use {}", .batch * (.queue / .batch).max(1))]
    Queue {
        /// Keys in the queue.
        queue: usize,
        /// Images per step.
        batch: usize,
    },
    /// Each group of the batch has norm statistics of its own.
    #[error("a part of {images} images does not divide into bn_splits = {splits} groups of at least 2 images")]
    Splits {
        /// Images per part of a step.
        images: usize,
        /// Groups.
        splits: usize,
    },
    /// A run that goes on cannot have these.
    #[error(
        "only the techniques (slow start, distillation, reweighting, surgery) and the learning rate can change while a \
         run goes on: begin a new one for the rest"
    )]
    Fixed,
    /// There is no full batch.
    #[error("batch = {batch} is larger than the data set of {images} images")]
    Batch {
        /// Images per step.
        batch: usize,
        /// Training images.
        images: usize,
    },
}

/// The CIFAR-10 recipe: what an earlier program's run did where it had no option yet.
impl Default for Config {
    fn default() -> Self {
        Self::cifar10()
    }
}

impl Config {
    /// The smallest preset: a ResNet-8 of three times the channels on quarter-size views, for a few minutes on a laptop. On
    /// 3,050 images, more channels gain more than more pixels or more epochs do.
    pub fn mini() -> Self {
        Self {
            depth: 8,
            multiplier: 3.0,
            image_size: 16,
            queue: 1024,
            bn_splits: 1,
            temperature: 0.2,
            epochs: 30.0,
            batch: 64,
            evaluate_every: 5.0,
            interference: true,
            ..Self::cifar10()
        }
    }

    /// The CIFAR-10 recipe of spec section 2, with a batch of 256 and a warm-up where the authors have 512 and none: their
    /// rate then takes twice as many steps, and a plain ResNet-20 has a kNN accuracy of 40.9 % after one epoch instead of
    /// two.
    pub fn cifar10() -> Self {
        Self {
            method: Method::Mocov2,
            temperature: 0.1,
            queue: 4096,
            key_momentum: 0.99,
            key_momentum_rises: false,
            bn_splits: 8,
            backbone: BackboneKind::Cifar,
            depth: 20,
            multiplier: 1.0,
            widths: vec![1.0, 0.75, 0.5, 0.25],
            disjoint: false,
            dim: 128,
            hidden: HeadKind::Simclr.paper_hidden(),
            slow_start: 0.5,
            distill: Distillation::Seed,
            distill_weight: 0.5,
            teacher_temperature: 5.0,
            student_temperature: 5.0,
            full_distill: false,
            reweighting: Reweighting::FullTakesAll,
            surgery: Surgery::None,
            interference: false,
            epochs: 200.0,
            batch: 256,
            accumulate: 1,
            recompute: false,
            optimizer: OptimizerKind::Sgd,
            learning_rate: 0.06,
            slim_rate_factor: 1.0,
            decay: Decay::Cosine,
            warmup: 0.05,
            milestones: vec![120.0, 160.0],
            momentum: 0.9,
            weight_decay: 5e-4,
            clip_norm: 0.0,
            precision: Precision::F32,
            image_size: 32,
            data: "embedded".into(),
            init: String::new(),
            knn: 200,
            evaluate_every: 10.0,
            seed: 0,
            device: "auto".into(),
            checkpoint_every: 1.0,
        }
    }

    /// The ImageNet recipe of spec section 2, for total batch 1024.
    pub fn imagenet_mocov2() -> Self {
        Self {
            backbone: BackboneKind::Resnet,
            depth: 50,
            queue: 65536,
            key_momentum: 0.999,
            temperature: 0.2,
            // The paper's batch of 1024 lay on 8 devices.
            bn_splits: 8,
            batch: 1024,
            learning_rate: 0.2,
            weight_decay: 1e-4,
            image_size: 224,
            data: "imagenet".into(),
            ..Self::cifar10()
        }
    }

    /// MoCo v3 on CIFAR-10: the ImageNet recipe of spec section 3 at batch 512.
    pub fn cifar10_mocov3() -> Self {
        Self { batch: 512, learning_rate: 0.6, epochs: 200.0, ..Self::cifar10().with_mocov3() }
    }

    /// The ImageNet recipe of spec section 3.
    pub fn imagenet_mocov3() -> Self {
        Self { learning_rate: 1.2, epochs: 300.0, ..Self::imagenet_mocov2().with_mocov3() }
    }

    /// The supervised slimmable network on ImageNet.
    pub fn imagenet_supervised() -> Self {
        Self { dim: 1000, epochs: 100.0, learning_rate: 0.4, ..Self::imagenet_mocov2().with_supervised() }
    }

    /// What the supervised slimmable network (Yu et al. 2019) has for any data: the full network learns from the
    /// labels, the others from the full network.
    pub fn with_supervised(self) -> Self {
        Self {
            method: Method::Supervised,
            bn_splits: 1,
            slow_start: 0.0,
            distill: Distillation::Inplace,
            distill_weight: 1.0,
            teacher_temperature: 1.0,
            student_temperature: 1.0,
            full_distill: false,
            reweighting: Reweighting::Equal,
            ..self
        }
    }

    /// What spec section 3 has for any data.
    fn with_mocov3(self) -> Self {
        Self {
            method: Method::Mocov3,
            dim: 256,
            hidden: HeadKind::Mocov3.paper_hidden(),
            temperature: 1.0,
            key_momentum: 0.99,
            key_momentum_rises: true,
            bn_splits: 1,
            teacher_temperature: 1.0,
            student_temperature: 1.0,
            optimizer: OptimizerKind::Lars,
            slim_rate_factor: 3.2 / 1.2,
            warmup: 0.033,
            weight_decay: 1e-6,
            ..self
        }
    }

    /// The same options for images of `classes` classes, which set the outputs of a supervised network.
    pub fn for_classes(self, classes: usize) -> Self {
        let dim = if self.method == Method::Supervised { classes } else { self.dim };
        Self { dim, ..self }
    }

    /// The widths of the network.
    ///
    /// # Errors
    /// If they make no slimmable network.
    pub fn network_widths(&self) -> Result<Widths, WidthError> {
        let slices = if self.disjoint { Slices::Disjoint } else { Slices::Nested };
        Widths::try_from(self.widths.clone())?.with_slices(slices)
    }

    /// The encoder to train.
    ///
    /// # Errors
    /// If the widths make no slimmable network.
    pub fn encoder(&self) -> Result<EncoderConfig, WidthError> {
        Ok(EncoderConfig {
            backbone: self.backbone,
            depth: self.depth,
            multiplier: self.multiplier,
            widths: self.network_widths()?,
            head: self.method.head(),
            hidden: self.hidden,
            predictor: self.method == Method::Mocov3,
            outputs: self.dim,
        })
    }

    /// The weight of each width's loss once all widths are trained, widest first.
    ///
    /// # Errors
    /// If the widths make no slimmable network.
    pub fn loss_weights(&self) -> Result<Vec<f64>, WidthError> {
        Ok(self.reweighting.weights(&self.network_widths()?))
    }

    /// Checks everything that can be checked before the data set is known.
    ///
    /// # Errors
    /// The first option that cannot be.
    pub fn check(&self) -> Result<(), ConfigError> {
        let up_to =
            |key, value: usize, most: usize, rule| in_range(key, value as f64, (1..=most).contains(&value), rule);
        // Before the network is built: a size beyond these is a slip of the finger that would fill the memory.
        up_to("depth", self.depth, 2000, "between 1 and 2000")?;
        let multiplies = self.multiplier > 0.0 && self.multiplier <= 64.0;
        in_range("multiplier", self.multiplier, multiplies, "above 0 and at most 64")?;
        up_to("dim", self.dim, 1 << 16, "between 1 and 65536")?;
        up_to("hidden", self.hidden, 1 << 16, "between 1 and 65536")?;
        up_to("queue", self.queue, 1 << 24, "between 1 and 16777216")?;
        up_to("batch", self.batch, 1 << 16, "between 1 and 65536")?;
        self.encoder()?.build()?;
        let positive = |key, value: f64| in_range(key, value, value > 0.0 && value.is_finite(), "above 0");
        let at_least_one = |key, value: usize| in_range(key, value as f64, value >= 1, "at least 1");
        let fraction = |key, value: f64| in_range(key, value, (0.0..=1.0).contains(&value), "between 0 and 1");
        let not_negative = |key, value: f64| in_range(key, value, value >= 0.0 && value.is_finite(), "0 or more");
        positive("epochs", self.epochs)?;
        positive("temperature", self.temperature)?;
        positive("teacher_temperature", self.teacher_temperature)?;
        positive("student_temperature", self.student_temperature)?;
        positive("evaluate_every", self.evaluate_every)?;
        positive("checkpoint_every", self.checkpoint_every)?;
        self.milestones.iter().try_for_each(|epoch| not_negative("milestones", *epoch))?;
        not_negative("learning_rate", self.learning_rate)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("clip_norm", self.clip_norm)?;
        not_negative("slim_rate_factor", self.slim_rate_factor)?;
        fraction("slow_start", self.slow_start)?;
        fraction("distill_weight", self.distill_weight)?;
        fraction("warmup", self.warmup)?;
        fraction("key_momentum", self.key_momentum)?;
        fraction("momentum", self.momentum)?;
        in_range("batch", self.batch as f64, self.batch >= 2, "at least 2")?;
        in_range("image_size", self.image_size as f64, (8..=1024).contains(&self.image_size), "between 8 and 1024")?;
        at_least_one("accumulate", self.accumulate)?;
        at_least_one("bn_splits", self.bn_splits)?;
        at_least_one("knn", self.knn)?;
        if self.method == Method::Mocov2 && !self.queue.is_multiple_of(self.batch) {
            return Err(ConfigError::Queue { queue: self.queue, batch: self.batch });
        }
        let images = self.batch / self.accumulate;
        if !self.batch.is_multiple_of(self.accumulate) || images < 2 {
            return Err(ConfigError::Parts { batch: self.batch, parts: self.accumulate });
        }
        if !images.is_multiple_of(self.bn_splits) || images / self.bn_splits < 2 {
            return Err(ConfigError::Splits { images, splits: self.bn_splits });
        }
        Ok(())
    }

    /// Checks that a run of these options may go on with `other` ones in their place: how widths teach and weigh, when they
    /// start, what is done about conflicts, the learning rate and how often the run is looked at may change.
    ///
    /// # Errors
    /// If others change too, or no run can have them.
    pub fn check_change(&self, other: &Self) -> Result<(), ConfigError> {
        let changeable = other.clone();
        let as_far_as_possible = Self {
            slow_start: changeable.slow_start,
            distill: changeable.distill,
            distill_weight: changeable.distill_weight,
            teacher_temperature: changeable.teacher_temperature,
            student_temperature: changeable.student_temperature,
            full_distill: changeable.full_distill,
            reweighting: changeable.reweighting,
            surgery: changeable.surgery,
            learning_rate: changeable.learning_rate,
            slim_rate_factor: changeable.slim_rate_factor,
            decay: changeable.decay,
            warmup: changeable.warmup,
            milestones: changeable.milestones,
            clip_norm: changeable.clip_norm,
            evaluate_every: changeable.evaluate_every,
            checkpoint_every: changeable.checkpoint_every,
            ..self.clone()
        };
        if as_far_as_possible == *other { other.check() } else { Err(ConfigError::Fixed) }
    }

    /// How the run divides into steps, given the number of training images.
    ///
    /// # Errors
    /// If they do not make one batch.
    pub fn timetable(&self, images: usize) -> Result<Timetable, ConfigError> {
        in_range("batch", self.batch as f64, self.batch > 0, "at least 1")?;
        if self.batch > images {
            return Err(ConfigError::Batch { batch: self.batch, images });
        }
        let steps_per_epoch = (images / self.batch) as u64;
        let in_steps = |epochs: f64| ((epochs * steps_per_epoch as f64).round() as u64).max(1);
        let steps = in_steps(self.epochs);
        Ok(Timetable {
            steps_per_epoch,
            steps,
            slow_start: (self.slow_start * steps as f64).round() as u64,
            // A plain network has none that could start.
            slim_rate_factor: if self.widths.len() > 1 { self.slim_rate_factor } else { 1.0 },
            key_momentum: self.key_momentum,
            key_momentum_rises: self.key_momentum_rises,
            evaluate_every: in_steps(self.evaluate_every),
            checkpoint_every: in_steps(self.checkpoint_every),
            schedule: Schedule {
                decay: self.decay,
                initial: self.learning_rate,
                total_steps: steps,
                warmup_steps: (self.warmup * steps as f64).round() as u64,
                milestones: self.milestones.clone(),
            },
        })
    }
}

/// An error unless the rule holds.
pub(crate) fn in_range(key: &'static str, value: f64, holds: bool, rule: &'static str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Range { key, value, rule }) }
}

/// How a run divides into steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Timetable {
    /// Full batches in one pass over the images.
    pub steps_per_epoch: u64,
    /// Steps of the run.
    pub steps: u64,
    /// The first step that trains the sub-networks.
    pub slow_start: u64,
    /// Factor on the learning rate from that step on.
    pub slim_rate_factor: f64,
    /// The momentum encoder's momentum at first.
    pub key_momentum: f64,
    /// Whether it rises to 1.
    pub key_momentum_rises: bool,
    /// Steps between evaluations.
    pub evaluate_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// The learning rate before that factor.
    pub schedule: Schedule,
}

impl Timetable {
    /// The fractional epoch at which `step` begins.
    pub fn epoch(&self, step: u64) -> f64 {
        step as f64 / self.steps_per_epoch as f64
    }

    /// Steps after the run's end whose batches have at least so many images, or as many as an epoch has: views that the run
    /// has not seen.
    pub fn unseen(&self, images: usize, batch: usize) -> Range<u64> {
        let first = self.steps.next_multiple_of(self.steps_per_epoch);
        first..first + (images.div_ceil(batch) as u64).min(self.steps_per_epoch)
    }

    /// What it has for `step`.
    pub fn plan(&self, step: u64) -> Plan {
        let (slim, epoch) = (step >= self.slow_start, self.epoch(step));
        let factor = if slim { self.slim_rate_factor } else { 1.0 };
        let key_momentum = if self.key_momentum_rises {
            cosine_momentum(self.key_momentum, epoch, self.epoch(self.steps))
        } else {
            self.key_momentum
        };
        Plan { slim, rate: self.schedule.rate(step, epoch) * factor, key_momentum, keeps_widths: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten steps an epoch.
    fn plans(config: &Config) -> impl Fn(u64) -> Plan + use<> {
        let timetable = config.timetable(10 * config.batch).unwrap();
        move |step| timetable.plan(step)
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn moco_v2_on_imagenet_is_spec_section_2s() {
        let config = Config::imagenet_mocov2();
        config.check().unwrap();
        assert_eq!((config.dim, config.queue, config.batch, config.epochs), (128, 65536, 1024, 200.0));
        assert_eq!((config.temperature, config.weight_decay, config.optimizer), (0.2, 1e-4, OptimizerKind::Sgd));
        assert_eq!((config.teacher_temperature, config.student_temperature), (5.0, 5.0));
        let plan = plans(&config);
        let warm = plan(100);
        assert_eq!((warm.slim, warm.rate, warm.key_momentum), (false, 0.2, 0.999));
        assert_eq!([999, 1000].map(|step| plan(step).slim), [false, true]);
        assert!(plan(1000).rate < plan(999).rate && close(plan(1999).key_momentum, 0.999));
    }

    #[test]
    fn moco_v3_on_imagenet_is_spec_section_3s() {
        let config = Config::imagenet_mocov3();
        config.check().unwrap();
        assert_eq!((config.dim, config.hidden, config.batch, config.epochs), (256, 4096, 1024, 300.0));
        assert_eq!((config.temperature, config.weight_decay, config.optimizer), (1.0, 1e-6, OptimizerKind::Lars));
        assert_eq!((config.teacher_temperature, config.student_temperature, config.bn_splits), (1.0, 1.0, 1));
        let plan = plans(&config);
        assert!(close(plan(99).rate, 1.2), "{:?}", plan(99));
        assert_eq!([1499, 1500].map(|step| plan(step).slim), [false, true]);
        let plain = plans(&Config { widths: vec![1.0], ..config.clone() });
        assert_eq!(plan(1499).rate, plain(1499).rate);
        assert!(close(plan(1500).rate, 3.2 / 1.2 * plain(1500).rate), "the rate rises when the sub-networks start");
        assert!(close(plan(0).key_momentum, 0.99) && close(plan(1500).key_momentum, 0.995));
        assert!(plan(2999).key_momentum > 0.999999);
        Config::cifar10_mocov3().check().unwrap();
    }

    #[test]
    fn supervised_sub_networks_learn_from_the_full_one_alone() {
        let config = Config::imagenet_supervised();
        config.check().unwrap();
        assert_eq!((config.distill, config.distill_weight, config.slow_start), (Distillation::Inplace, 1.0, 0.0));
        assert_eq!(config.clone().for_classes(7).encoder().unwrap().outputs, 7);
        assert_eq!(Config::cifar10().for_classes(7).dim, 128);
    }
}
