//! Distillation losses. Online, the full network of the same step teaches the sub-networks (paper section 3.3).

use burn::tensor::{Int, Tensor, activation::log_softmax};
pub use slimclr_run::distill::{Distillation, Temperatures};

use super::{Loss, Quantity};
use crate::kernel::contrastive::soft_cross_entropy;

/// A network's outputs for a batch: embeddings `[n, d]` and logits `[n, c]`, with one positive in each row.
#[derive(Debug, Clone)]
pub struct Output {
    /// Normalised embeddings; class scores in supervised training.
    pub embeddings: Tensor<2>,
    /// Similarities to positive and negative keys, or class scores.
    pub logits: Tensor<2>,
}

impl Output {
    /// Returns the same values without a graph, as a teacher.
    pub fn detached(&self) -> Self {
        Self { embeddings: self.embeddings.clone().without_autodiff(), logits: self.logits.clone().without_autodiff() }
    }
}

/// Computes the distillation loss between `student` and `teacher`, and reports how far it is above its minimum; `None`
/// for [`Distillation::None`]. `targets`, `[n]`, are the columns of the positives in the logits.
///
/// # Panics
/// If there are no positives, but `kind` is [`Distillation::Dkd`].
pub fn distillation_loss(
    kind: Distillation,
    student: &Output,
    teacher: &Output,
    targets: Option<&Tensor<1, Int>>,
    temperatures: Temperatures,
) -> Option<Loss> {
    let embeddings = [student.embeddings.clone(), teacher.embeddings.clone()];
    let logits = [student.logits.clone(), teacher.logits.clone()];
    let with_minimum_zero = match kind {
        Distillation::None => return None,
        Distillation::Seed => return Some(soft_targets(logits, temperatures)),
        Distillation::Inplace => return Some(soft_targets(embeddings, temperatures)),
        Distillation::MseEmbeddings => mean_squared_error(embeddings),
        Distillation::MseLogits => mean_squared_error(logits),
        Distillation::Dkd => decoupled(logits, targets.expect("the method has positives")),
        Distillation::Atkd => divergence(logits.map(standardised), Temperatures { teacher: 4.0, student: 4.0 }),
    };
    Some(Loss::from(with_minimum_zero.clone()).reporting(Quantity::Divergence, with_minimum_zero, 1.0))
}

fn soft_targets(logits: [Tensor<2>; 2], temperatures: Temperatures) -> Loss {
    let factor = temperatures.student.powi(2);
    let cross_entropy = soft_cross_entropy(logits, [temperatures.student, temperatures.teacher]);
    let loss = Loss::from(cross_entropy.loss.mul_scalar(factor));
    loss.reporting(Quantity::Divergence, cross_entropy.divergences, factor)
}

fn mean_squared_error([student, teacher]: [Tensor<2>; 2]) -> Tensor<1> {
    (student - teacher).powi_scalar(2).mean()
}

/// Computes the Kullback-Leibler divergence of the softened teacher from the softened student, `[n, c]` each, times the
/// squared temperature of the student (Hinton et al. 2015, section 2). Returns the mean over rows, `[1]`.
pub fn divergence([student, teacher]: [Tensor<2>; 2], temperatures: Temperatures) -> Tensor<1> {
    let rows = student.dims()[0] as f64;
    let student = log_softmax(student.div_scalar(temperatures.student), 1);
    let teacher = log_softmax(teacher.div_scalar(temperatures.teacher), 1);
    (teacher.clone().exp() * (teacher - student)).sum().mul_scalar(temperatures.student.powi(2) / rows)
}

/// Normalises every row to mean 0 and variance 1 (layer norm without affine), times 2.
fn standardised(logits: Tensor<2>) -> Tensor<2> {
    let centred = logits.clone() - logits.mean_dim(1);
    let variance = centred.clone().powi_scalar(2).mean_dim(1);
    (centred / variance.add_scalar(1e-5).sqrt()).mul_scalar(2.0)
}

/// Weight of the target part of DKD.
const ALPHA: f64 = 1.0;
/// Weight of the non-target part.
const BETA: f64 = 0.5;

/// The logit of a column that a softmax ignores. Infinity would make the sums NaN.
const FAR_BELOW: f64 = -1e4;

/// Computes the divergence in two parts: target against non-target, and among the non-targets.
fn decoupled([student, teacher]: [Tensor<2>; 2], targets: &Tensor<1, Int>) -> Tensor<1> {
    let [rows, columns] = student.dims();
    let right: Tensor<2, Int> = targets.clone().unsqueeze_dim(1);
    let is_right = Tensor::<1, Int>::arange(0..columns as i64, &student.device())
        .unsqueeze_dim::<2>(0)
        .expand([rows, columns])
        .equal(right.clone().expand([rows, columns]));
    let [student, teacher] = [student, teacher].map(|logits| {
        let positive = log_softmax(logits.clone(), 1).gather(1, right.clone());
        let others = logits.clone().mask_fill(is_right.clone(), FAR_BELOW);
        // log(1 - p) from the others' own probabilities: exact where p is close to 1.
        let negative = log_sum_exp(others.clone()) - log_sum_exp(logits);
        (Tensor::cat(vec![positive, negative], 1), log_softmax(others, 1))
    });
    let target = (teacher.0.clone().exp() * (teacher.0 - student.0)).sum();
    let others = (teacher.1.clone().exp() * (teacher.1 - student.1)).sum();
    (target.mul_scalar(ALPHA) + others.mul_scalar(BETA)).div_scalar(rows as f64)
}

/// Computes the log-sum-exp of every row. Shape: `[n, c]` to `[n, 1]`.
fn log_sum_exp(logits: Tensor<2>) -> Tensor<2> {
    let highest = logits.clone().detach().max_dim(1);
    (logits - highest.clone()).exp().sum_dim(1).log() + highest
}
