//! Which options a run can have.

use slimclr_network::{encoder::BuildError, width::WidthError};
use thiserror::Error;

use super::Config;
use crate::method::MethodKind;

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

impl Config {
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
        if self.method == MethodKind::Mocov2 && !self.queue.is_multiple_of(self.batch) {
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
}

/// Checks a rule of one option.
///
/// # Errors
/// If it does not hold.
pub fn in_range(key: &'static str, value: f64, holds: bool, rule: &'static str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Range { key, value, rule }) }
}
