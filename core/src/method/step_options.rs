//! Options of the training step, and how it combines the losses of the widths (paper section 3.3).

use burn::tensor::{Int, Tensor};

use crate::{
    config::Config,
    interference::surgery::Surgery,
    kernel::ranks::Ranks,
    loss::{
        Loss,
        distill::{Distillation, Output, Temperatures, distillation_loss},
    },
    precision::Precision,
    width::Widths,
};

/// Options of a training step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepOptions {
    /// Groups that batch-norm statistics are computed over.
    pub bn_splits: usize,
    /// Whether these statistics are of the images of all ranks.
    pub sync_bn: bool,
    /// Micro-batches that gradients are accumulated over.
    pub accumulate: usize,
    /// Whether blocks are recomputed in the backward pass (activation checkpointing).
    pub recompute: bool,
    /// Highest norm of the gradient; 0 for no clipping.
    pub clip_norm: f64,
    /// Precision of convolutions and linear layers.
    pub precision: Precision,
    /// The distillation loss.
    pub distill: Distillation,
    /// Weight of the distillation in a sub-network's loss.
    pub distill_weight: f64,
    /// Temperatures of the distillation.
    pub temperatures: Temperatures,
    /// Whether every wider network teaches, not only the full one.
    pub full_distill: bool,
    /// How widths' gradients that conflict are combined.
    pub surgery: Surgery,
    /// Weight of each width's loss once the sub-networks are trained.
    pub loss_weights: Vec<f64>,
    /// Seed of the shuffles before the key encoder and of the order of gradient surgery.
    pub seed: u64,
}

impl StepOptions {
    /// Reads the options from `config`, for an encoder of these widths.
    pub fn new(config: &Config, widths: &Widths) -> Self {
        Self {
            bn_splits: config.bn_splits,
            sync_bn: config.sync_bn,
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

    /// Returns those of `ranks` whose images are normalised together.
    pub fn normalised(&self, ranks: &Ranks) -> Ranks {
        if self.sync_bn { ranks.clone() } else { Ranks::default() }
    }

    /// Computes the weighted loss of one width: the method's own `loss`, and distillation from the wider networks'
    /// outputs, widest first. `targets`, `[n]`, are the columns of the positives in the logits, if there are any; `weight`
    /// multiplies the sum. What both report is without weights.
    pub fn weighted(
        &self,
        loss: Loss,
        (student, teachers): (&Output, &[Output]),
        targets: Option<&Tensor<1, Int>>,
        weight: f64,
    ) -> Loss {
        let teachers = if self.full_distill { teachers } else { &teachers[..teachers.len().min(1)] };
        let mut readings = loss.readings;
        let distilled: Vec<Tensor<1>> = teachers
            .iter()
            .filter_map(|teacher| distillation_loss(self.distill, student, teacher, targets, self.temperatures))
            .map(|distilled| {
                readings.extend(distilled.readings);
                distilled.value
            })
            .collect();
        let share = weight * self.distill_weight / distilled.len().max(1) as f64;
        let value = match distilled.into_iter().reduce(|sum, loss| sum + loss) {
            None => loss.value.mul_scalar(weight),
            Some(distilled) => {
                loss.value.mul_scalar(weight * (1.0 - self.distill_weight)) + distilled.mul_scalar(share)
            }
        };
        Loss { value, readings }
    }
}
