//! How the widths' losses are made and weighed (spec sections 2 to 4).

use burn::tensor::{Int, Tensor};

use super::Method;
use crate::{
    config::Config,
    interference::surgery::Surgery,
    loss::{
        contrast::cross_entropy,
        distill::{Distillation, Output, Temperatures},
    },
    precision::Precision,
    width::Widths,
};

/// What a step needs beyond its images.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What the network is trained for.
    pub method: Method,
    /// Temperature of the contrastive logits, `T`.
    pub temperature: f64,
    /// Groups of the batch with batch-norm statistics of their own.
    pub bn_splits: usize,
    /// Parts that a batch is computed in, one after the other.
    pub accumulate: usize,
    /// Whether activations are computed once more for the gradients, and not kept.
    pub recompute: bool,
    /// The gradient's norm is scaled down to this, unless it is 0.
    pub clip_norm: f64,
    /// What convolutions and linear layers compute in.
    pub precision: Precision,
    /// How the full network teaches the others.
    pub distill: Distillation,
    /// Share of the distillation in a sub-network's loss.
    pub distill_weight: f64,
    /// Temperatures of the distillation.
    pub temperatures: Temperatures,
    /// Whether every wider network teaches, not only the full one.
    pub full_distill: bool,
    /// What is done about gradients of widths that conflict.
    pub surgery: Surgery,
    /// Weight of each width's loss once the sub-networks are trained.
    pub loss_weights: Vec<f64>,
    /// Seed of the queue's first keys and of the shuffles.
    pub seed: u64,
}

impl Recipe {
    /// The recipe that `config` describes, for an encoder of these widths.
    pub fn new(config: &Config, widths: &Widths) -> Self {
        Self {
            method: config.method,
            temperature: config.temperature,
            bn_splits: config.bn_splits,
            accumulate: config.accumulate,
            recompute: config.recompute,
            clip_norm: config.clip_norm,
            precision: config.precision,
            distill: config.distill,
            distill_weight: config.distill_weight,
            temperatures: Temperatures { teacher: config.teacher_temperature, student: config.student_temperature },
            full_distill: config.full_distill,
            surgery: config.surgery,
            loss_weights: config.reweighting.weights(widths),
            seed: config.seed,
        }
    }

    /// The weighted loss of one width, `[1]`, given the right columns of its logits, `[n]`, and what the wider
    /// networks made of the batch, widest first. `loss_weight` multiplies all of it.
    pub fn loss(&self, student: &Output, targets: &Tensor<1, Int>, wider: &[Output], loss_weight: f64) -> Tensor<1> {
        let contrast = self.contrast(student.logits.clone(), targets.clone());
        let teachers = if self.full_distill { wider } else { &wider[..wider.len().min(1)] };
        let lessons: Vec<Tensor<1>> = teachers
            .iter()
            .filter_map(|teacher| self.distill.loss(student, teacher, targets, self.temperatures))
            .collect();
        let share = loss_weight * self.distill_weight / lessons.len().max(1) as f64;
        match lessons.into_iter().reduce(|sum, lesson| sum + lesson) {
            None => contrast.mul_scalar(loss_weight),
            Some(lessons) => contrast.mul_scalar(loss_weight * (1.0 - self.distill_weight)) + lessons.mul_scalar(share),
        }
    }

    /// The cross-entropy of the logits at the method's temperature. MoCo v3's logits carry it already, and its loss
    /// is made independent of it (Chen et al. 2021, algorithm 1).
    pub(crate) fn contrast(&self, logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
        match self.method {
            Method::Mocov2 | Method::Simclr => cross_entropy(logits, targets, self.temperature),
            Method::Mocov3 => cross_entropy(logits, targets, 1.0).mul_scalar(2.0 * self.temperature),
            Method::Supervised => cross_entropy(logits, targets, 1.0),
        }
    }
}
