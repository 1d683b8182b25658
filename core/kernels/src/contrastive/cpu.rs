//! Cross-entropies with their gradients on the CPU, for f32.

use std::mem::MaybeUninit;

use burn::backend::{
    Flex,
    flex::FlexTensor,
    tensor::{FloatTensor, IntTensor},
};

use super::{ContrastiveBackend, ContrastiveBackward, plain};
use crate::{
    cpu::{at_least, is_f32, par_collect_uninit, sums, tensor, values, vectorised},
    threads::map,
};

/// Computes `e^x` for `x` up to 0, within two units in the last place, by Cephes' polynomial, which vectorises.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it rounds to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // The smallest normal number is e^-87.3.
    let x = at_least(x, -87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let twos = rounded - ROUND;
    // ln 2 in two parts, the first of which has few bits, so that its product is exact.
    let rest = x - twos * 0.693_359_4 + twos * 2.121_944_4e-4;
    let polynomial = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5, 1.0, 1.0]
        .into_iter()
        .fold(0.0, |sum, coefficient| sum * rest + coefficient);
    polynomial * f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits()))
}

/// The softmax of a row divided by a temperature: `e^(scale * (logit - highest)) / sum`.
#[derive(Clone, Copy)]
struct Softmax {
    scale: f32,
    highest: f32,
    sum: f32,
}

impl Softmax {
    #[inline(always)]
    fn of(row: &[f32], temperature: f64) -> Self {
        Self::with_sum(
            row,
            temperature,
            #[inline(always)]
            |_| 0.0,
        )
        .0
    }

    /// Computes the softmax, and in the same sweep the sum of `term` over the row.
    #[inline(always)]
    fn with_sum(row: &[f32], temperature: f64, term: impl Fn(f32) -> f32) -> (Self, f64) {
        let scale = (1.0 / temperature) as f32;
        let highest =
            row.iter().fold(f32::NEG_INFINITY, |highest, logit| if *logit < highest { highest } else { *logit });
        let [sum, sum_of_terms] = sums(
            [row],
            #[inline(always)]
            |[logit]| [exp(scale * (logit - highest)), term(logit)],
        );
        (Self { scale, highest, sum: sum as f32 }, sum_of_terms)
    }

    #[inline(always)]
    fn probability(self, logit: f32) -> f32 {
        exp(self.scale * (logit - self.highest)) / self.sum
    }

    #[inline(always)]
    fn log_probability(self, logit: f32) -> f32 {
        self.scale * (logit - self.highest) - self.sum.ln()
    }
}

/// Computes the loss, the gradient of the logits, and the ranks. See
/// [`cross_entropy`](fn@crate::contrastive::cross_entropy).
fn cross_entropy(logits: &FlexTensor, targets: &[usize], temperature: f64) -> (FlexTensor, FlexTensor, FlexTensor) {
    let logits = logits.to_contiguous();
    let [rows, columns] = logits.layout().shape().dims();
    let values = values(&logits);
    let row = |number: usize| &values[number * columns..][..columns];
    let softmaxes = map(rows, |number| {
        let of_target = row(number)[targets[number]];
        vectorised(
            #[inline(always)]
            || {
                Softmax::with_sum(
                    row(number),
                    temperature,
                    #[inline(always)]
                    |logit| if logit < of_target { 0.0 } else { 1.0 },
                )
            },
        )
    });
    let losses = softmaxes.iter().zip(targets).enumerate();
    let losses =
        losses.map(|(number, ((softmax, _), target))| -f64::from(softmax.log_probability(row(number)[*target])));
    let loss = losses.sum::<f64>() / rows as f64;
    let share = (1.0 / (rows as f64 * temperature)) as f32;
    let write = |number: usize, gradient: &mut [MaybeUninit<f32>]| {
        let (softmax, _) = softmaxes[number];
        vectorised(
            #[inline(always)]
            || {
                for (gradient, logit) in gradient.iter_mut().zip(row(number)) {
                    gradient.write(share * softmax.probability(*logit));
                }
            },
        );
        let right = targets[number];
        gradient[right].write(share * (softmax.probability(row(number)[right]) - 1.0));
    };
    // SAFETY: every column is written.
    let gradient =
        unsafe { par_collect_uninit(values.len(), columns, || (), |(), number, gradient| write(number, gradient)) };
    let ranks = softmaxes.iter().map(|(_, rank)| *rank as f32).collect();
    (tensor(vec![loss as f32], [1]), tensor(gradient, [rows, columns]), tensor(ranks, [rows]))
}

/// Computes the loss, the gradient of the student's logits, and the divergences. See
/// [`soft_cross_entropy`](fn@crate::contrastive::soft_cross_entropy).
fn soft_cross_entropy(logits: [&FlexTensor; 2], temperatures: [f64; 2]) -> (FlexTensor, FlexTensor, FlexTensor) {
    let [student, teacher] = logits.map(FlexTensor::to_contiguous);
    let [rows, columns] = student.layout().shape().dims();
    let (student, teacher) = (values(&student), values(&teacher));
    let rows_of = |number: usize| [student, teacher].map(|of| &of[number * columns..][..columns]);
    let softmaxes = map(rows, |number| {
        let [student, teacher] = rows_of(number);
        vectorised(
            #[inline(always)]
            || {
                let own = Softmax::of(student, temperatures[0]);
                let target = Softmax::of(teacher, temperatures[1]);
                let [along, difference] = sums(
                    [student, teacher],
                    #[inline(always)]
                    |[student, teacher]| {
                        let (probability, below) = (target.probability(teacher), student - own.highest);
                        let difference = target.scale * (teacher - target.highest) - own.scale * below;
                        [probability * below, probability * difference]
                    },
                );
                // The target's probabilities sum to 1, so the log of a sum is subtracted once.
                let [log_sum, log_sum_of_target] = [own.sum, target.sum].map(|sum| f64::from(sum).ln());
                let loss = log_sum - f64::from(own.scale) * along;
                (own, target, [loss, difference + log_sum - log_sum_of_target])
            },
        )
    });
    let loss = softmaxes.iter().map(|(.., [loss, _])| loss).sum::<f64>() / rows as f64;
    let share = (1.0 / (rows as f64 * temperatures[0])) as f32;
    let write = |number: usize, gradient: &mut [MaybeUninit<f32>]| {
        let ([student, teacher], (own, target, _)) = (rows_of(number), softmaxes[number]);
        vectorised(
            #[inline(always)]
            || {
                for ((gradient, student), teacher) in gradient.iter_mut().zip(student).zip(teacher) {
                    gradient.write(share * (own.probability(*student) - target.probability(*teacher)));
                }
            },
        );
    };
    // SAFETY: every column is written.
    let gradient =
        unsafe { par_collect_uninit(student.len(), columns, || (), |(), number, gradient| write(number, gradient)) };
    let divergences = softmaxes.iter().map(|(.., [_, divergence])| *divergence as f32).collect();
    (tensor(vec![loss as f32], [1]), tensor(gradient, [rows, columns]), tensor(divergences, [rows]))
}

impl ContrastiveBackend for Flex {
    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&logits) {
            return plain::cross_entropy::<Self>(logits, targets, temperature);
        }
        let targets: Vec<usize> = targets.into_data().iter::<i64>().map(|column| column as usize).collect();
        cross_entropy(&logits, &targets, temperature)
    }

    fn soft_cross_entropy(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        temperatures: [f64; 2],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&student) {
            return plain::soft_cross_entropy::<Self>(student, teacher, temperatures);
        }
        soft_cross_entropy([&student, &teacher], temperatures)
    }
}

impl ContrastiveBackward for Flex {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate() {
        for x in (0..870_000).map(|x| -1e-4 * x as f32) {
            let expected = f64::from(x).exp();
            assert!((f64::from(exp(x)) - expected).abs() <= 2.4e-7 * expected, "e^{x}: {}, not {expected}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan() && exp(f32::NEG_INFINITY) < 2e-38);
    }
}
