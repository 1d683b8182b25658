//! Checks of a run's options.

use slimclr_network::{encoder::BuildError, width::WidthError};
use thiserror::Error;

use super::Config;
use crate::{distill::Distillation, method::MethodKind, precision::Precision};

/// Why options are not valid.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConfigError {
    /// The widths are not valid.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// The network cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A value is out of range.
    #[error("{key} = {value}, but it must be {rule}")]
    Range {
        /// The option.
        key: &'static str,
        /// Its value.
        value: f64,
        /// The allowed range.
        rule: &'static str,
    },
    /// The batch does not divide into micro-batches of at least 2 images.
    #[error("batch = {batch} cannot be divided into accumulate = {parts} micro-batches of at least 2 images")]
    Parts {
        /// Images per step.
        batch: usize,
        /// Micro-batches per step.
        parts: usize,
    },
    /// The queue does not hold a whole number of batches.
    #[error("queue = {queue} is not divisible by batch = {batch}: use {}", .batch * (.queue / .batch).max(1))]
    Queue {
        /// Keys in the queue.
        queue: usize,
        /// Images per step.
        batch: usize,
    },
    /// A micro-batch does not divide into groups of at least 2 images.
    #[error("a micro-batch of {images} images cannot be divided into bn_splits = {splits} groups of at least 2 images")]
    Splits {
        /// Images per micro-batch.
        images: usize,
        /// Groups.
        splits: usize,
    },
    /// A micro-batch does not divide among the processes that train together.
    #[error(
        "a micro-batch of {images} images does not divide among {ranks} processes into equal parts of at least 2 images \
         for each of bn_splits = {splits} groups: use another batch, or another number of processes"
    )]
    Ranks {
        /// Images per micro-batch.
        images: usize,
        /// Processes.
        ranks: usize,
        /// Groups in each process.
        splits: usize,
    },
    /// Supervised training of images without labels.
    #[error(
        "method = {0} needs labels, but the images have none: choose another method, or sort the images into one folder \
         per class"
    )]
    NoLabels(&'static str),
    /// A two-stage method has no teacher.
    #[error("the method needs a trained teacher: name a run's folder or a file of weights with --teacher")]
    NoTeacher,
    /// A teacher is given to a method that has none.
    #[error("the method uses no teacher: leave --teacher out, or choose seed, kd, disco, bingo, compress or simdis")]
    UnusedTeacher,
    /// A method without a cache is to use cached teacher features.
    #[error("cached_teacher is an option of compress alone: leave it out, or choose that method")]
    UnusedCache,
    /// SimDis has nothing to predict.
    #[error("targets is empty: name at least one target, such as sema_dv")]
    NoTargets,
    /// Gradients of an online teacher are not scaled.
    #[error("precision = f16 does not work with online_teacher: choose bf16 or f32")]
    OnlineTeacherInF16,
    /// Distillation between the widths needs positives, which the method does not have.
    #[error(
        "distill = dkd needs a positive in each row of logits, which the method does not have: choose another \
         distillation"
    )]
    NoPositives,
    /// These options cannot change during a run.
    #[error(
        "only the techniques (slow start, distillation, reweighting, surgery), the learning rate, clipping, and the \
         intervals of evaluations and checkpoints can change during a run: start a new run for the rest"
    )]
    Fixed,
    /// The data set is smaller than one batch.
    #[error("batch = {batch} is larger than the data set of {images} images")]
    Batch {
        /// Images per step.
        batch: usize,
        /// Training images.
        images: usize,
    },
}

/// The most layers of a network. More would exhaust memory.
const MOST_LAYERS: usize = 2000;

impl Config {
    /// Checks everything that can be checked before the data set is known.
    ///
    /// # Errors
    /// Names the first option that is not valid.
    pub fn check(&self) -> Result<(), ConfigError> {
        // Before the network is built: larger sizes are typing errors, and would exhaust memory.
        self.check_values()?;
        self.encoder()?.build()?;
        if self.online_teacher && self.method == MethodKind::Simdis {
            self.online_teacher_encoder().build()?;
        }
        Ok(())
    }

    /// Checks the options one by one and together, but not whether there is such a network.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_values(&self) -> Result<(), ConfigError> {
        up_to("depth", self.depth, MOST_LAYERS, "between 1 and 2000")?;
        multiplies("multiplier", self.multiplier)?;
        up_to("dim", self.dim, 1 << 16, "between 1 and 65536")?;
        up_to("hidden", self.hidden, 1 << 16, "between 1 and 65536")?;
        match self.method {
            MethodKind::Swav => in_range("queue", self.queue as f64, self.queue <= 1 << 24, "between 0 and 16777216")?,
            _ => up_to("queue", self.queue, 1 << 24, "between 1 and 16777216")?,
        }
        up_to("batch", self.batch, 1 << 16, "between 1 and 65536")?;
        self.encoder()?;
        let at_least_one = |key, value: usize| in_range(key, value as f64, value >= 1, "at least 1");
        positive("epochs", self.epochs)?;
        // More steps than a u64 counts.
        in_range("epochs", self.epochs, self.epochs <= 1e9, "at most 1000000000")?;
        positive("temperature", self.temperature)?;
        positive("teacher_temperature", self.teacher_temperature)?;
        positive("student_temperature", self.student_temperature)?;
        not_negative("evaluate_every", self.evaluate_every)?;
        positive("checkpoint_every", self.checkpoint_every)?;
        self.milestones.iter().try_for_each(|epoch| not_negative("milestones", *epoch))?;
        not_negative("learning_rate", self.learning_rate)?;
        not_negative("warmup_start", self.warmup_start)?;
        not_negative("final_rate", self.final_rate)?;
        not_negative("milestone_factor", self.milestone_factor)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("clip_norm", self.clip_norm)?;
        not_negative("slim_rate_factor", self.slim_rate_factor)?;
        fraction("slow_start", self.slow_start)?;
        fraction("distill_weight", self.distill_weight)?;
        fraction("warmup", self.warmup)?;
        fraction("key_momentum", self.key_momentum)?;
        fraction("momentum", self.momentum)?;
        not_negative("backbone_rate", self.backbone_rate)?;
        not_negative("stage_decay", self.stage_decay)?;
        let is_part = |part: f64| part > 0.0 && part <= 1.0;
        in_range("label_fraction", self.label_fraction, is_part(self.label_fraction), "above 0 and at most 1")?;
        in_range("init_width", self.init_width, is_part(self.init_width), "above 0 and at most 1")?;
        in_range("batch", self.batch as f64, self.batch >= 2, "at least 2")?;
        in_range("image_size", self.image_size as f64, (8..=1024).contains(&self.image_size), "between 8 and 1024")?;
        at_least_one("accumulate", self.accumulate)?;
        at_least_one("bn_splits", self.bn_splits)?;
        at_least_one("knn", self.knn)?;
        self.check_method()?;
        let in_whole_batches = self.queue_length().max(if self.method == MethodKind::Swav { self.queue } else { 0 });
        if !in_whole_batches.is_multiple_of(self.batch) {
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

    /// Checks that each of `ranks` processes gets an equal part of every micro-batch.
    ///
    /// # Errors
    /// If it does not.
    pub fn check_ranks(&self, ranks: usize) -> Result<(), ConfigError> {
        let (images, splits) = (self.batch / self.accumulate, self.bn_splits);
        let fits = images.is_multiple_of(ranks * splits) && images / (ranks * splits) >= 2;
        if ranks == 1 || fits { Ok(()) } else { Err(ConfigError::Ranks { images, ranks, splits }) }
    }

    /// Checks the options of two-stage methods, and of crops and clusters.
    fn check_method(&self) -> Result<(), ConfigError> {
        positive("target_temperature", self.target_temperature)?;
        fraction("kd_weight", self.kd_weight)?;
        up_to("mse_devices", self.mse_devices, self.batch, "between 1 and the batch")?;
        up_to("bag", self.bag, 1024, "between 1 and 1024")?;
        up_to("prototypes", self.prototypes, 1 << 20, "between 1 and 1048576")?;
        positive("sinkhorn_epsilon", self.sinkhorn_epsilon)?;
        up_to("sinkhorn_iterations", self.sinkhorn_iterations, 1000, "between 1 and 1000")?;
        not_negative("freeze", self.freeze)?;
        not_negative("queue_after", self.queue_after)?;
        in_range("small_crops", self.small_crops as f64, self.small_crops <= 64, "at most 64")?;
        let has_crops = matches!(self.method, MethodKind::Seed | MethodKind::Swav);
        in_range("small_crops", self.small_crops as f64, has_crops || self.small_crops == 0, "0 for this method")?;
        let fits = (8..=self.image_size).contains(&self.small_size) || self.small_crops == 0;
        in_range("small_size", self.small_size as f64, fits, "between 8 and image_size")?;
        if self.cached_teacher && self.method != MethodKind::Compress {
            return Err(ConfigError::UnusedCache);
        }
        up_to("teacher_depth", self.teacher_depth, MOST_LAYERS, "between 1 and 2000")?;
        multiplies("teacher_multiplier", self.teacher_multiplier)?;
        if self.targets.is_empty() {
            return Err(ConfigError::NoTargets);
        }
        match (self.needs_teacher(), self.teacher.is_empty()) {
            (true, true) => return Err(ConfigError::NoTeacher),
            (false, false) => return Err(ConfigError::UnusedTeacher),
            _ => {}
        }
        if self.online_teacher && self.method == MethodKind::Simdis {
            in_range("accumulate", self.accumulate as f64, self.accumulate == 1, "1 with an online teacher")?;
            if self.precision == Precision::F16 {
                return Err(ConfigError::OnlineTeacherInF16);
            }
        }
        let has_positives = match self.method {
            MethodKind::Kd | MethodKind::Compress | MethodKind::Simdis | MethodKind::Swav => false,
            MethodKind::Mocov2 | MethodKind::Mocov3 | MethodKind::Simclr | MethodKind::Supervised => true,
            MethodKind::Seed | MethodKind::Disco | MethodKind::Bingo => true,
        };
        if self.distill == Distillation::Dkd && !has_positives { Err(ConfigError::NoPositives) } else { Ok(()) }
    }

    /// Checks that a run may continue with `other` options: only distillation, reweighting, slow start, surgery,
    /// clipping, the learning rate, and the intervals of evaluations and checkpoints may change.
    ///
    /// # Errors
    /// If other options differ, or `other` is not valid.
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
            warmup_start: changeable.warmup_start,
            final_rate: changeable.final_rate,
            milestones: changeable.milestones,
            milestone_factor: changeable.milestone_factor,
            clip_norm: changeable.clip_norm,
            evaluate_every: changeable.evaluate_every,
            checkpoint_every: changeable.checkpoint_every,
            ..self.clone()
        };
        // The network is the same.
        if as_far_as_possible == *other { other.check_values() } else { Err(ConfigError::Fixed) }
    }
}

fn multiplies(key: &'static str, value: f64) -> Result<(), ConfigError> {
    in_range(key, value, value > 0.0 && value <= 64.0, "above 0 and at most 64")
}

fn finite(key: &'static str, value: f64) -> Result<(), ConfigError> {
    in_range(key, value, !value.is_infinite(), "finite")
}

fn positive(key: &'static str, value: f64) -> Result<(), ConfigError> {
    finite(key, value)?;
    in_range(key, value, value > 0.0, "above 0")
}

fn not_negative(key: &'static str, value: f64) -> Result<(), ConfigError> {
    finite(key, value)?;
    in_range(key, value, value >= 0.0, "0 or more")
}

fn fraction(key: &'static str, value: f64) -> Result<(), ConfigError> {
    in_range(key, value, (0.0..=1.0).contains(&value), "between 0 and 1")
}

fn up_to(key: &'static str, value: usize, most: usize, rule: &'static str) -> Result<(), ConfigError> {
    in_range(key, value as f64, (1..=most).contains(&value), rule)
}

/// Returns an error that names `key` and `rule`, unless the rule `holds`.
///
/// # Errors
/// If `holds` is false.
pub fn in_range(key: &'static str, value: f64, holds: bool, rule: &'static str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Range { key, value, rule }) }
}
