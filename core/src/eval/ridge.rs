//! The ridge-regression probe: the linear classifier of least squared error to one-hot targets, in closed form. It has
//! no learning rate to tune and no order of batches, so it separates a badly trained probe from bad features.
//!
//! Of centred features `X`, `[n, f]`, and targets `Y`, `[n, classes]`, it is
//!
//! ```text
//! W = (X^T X + lambda v n I)^-1 X^T Y        b = mean(Y) - mean(features) W
//! ```
//!
//! where `v` is the features' mean variance, so that the same `lambda` suits features of any scale.

use burn::tensor::{ExecutionError, Tensor, TensorData};
use thiserror::Error;

use super::{
    ProbeAccuracy,
    features::{Features, chunks},
};

/// The default ridge: large enough for nearly dependent features, too small to affect the others.
pub const LAMBDA: f64 = 1e-3;

/// How often [`ridge`] reads the training features: for their mean, then for their products.
pub const PASSES: usize = 2;

/// Images whose products are summed on the device, in its precision. The host adds these sums in 64 bits.
const CHUNK: usize = 4096;

/// Why ridge regression fails.
#[derive(Debug, Error)]
pub enum RidgeError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] ExecutionError),
    /// The factorisation met a pivot that is not positive.
    #[error(
        "ridge regression on {inputs} features has no solution at lambda = {lambda}: if the features are finite, \
         use a larger lambda"
    )]
    Indefinite {
        /// Features of an image.
        inputs: usize,
        /// The ridge.
        lambda: f64,
    },
}

/// Solves for the classifier of one width's `train` features, and scores it on `test`. The ridge `lambda` is relative
/// to the features' mean variance.
///
/// # Errors
/// If the device fails, or rounding leaves no solution.
pub async fn ridge(train: &Features, test: &Features, lambda: f64) -> Result<ProbeAccuracy, RidgeError> {
    let [weight, bias] = fit(train, lambda).await?;
    let accuracy = ProbeAccuracy::of(test, |x| x.matmul(weight.clone()) + bias.clone()).await?;
    accuracy.ok_or(RidgeError::Indefinite { inputs: train.values.dims()[1], lambda })
}

/// Fits the classifier: weight `[f, classes]` and bias `[1, classes]`.
async fn fit(train: &Features, lambda: f64) -> Result<[Tensor<2>; 2], RidgeError> {
    let [images, inputs] = train.values.dims();
    let classes = train.classes();
    let columns = inputs + classes;
    let to_device = |values: Vec<f64>, rows: usize| {
        let columns = values.len() / rows;
        Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), &train.values.device())
    };
    let mut mean = vec![0.0_f64; inputs];
    for chunk in chunks(images, CHUNK) {
        let sum = train.values.rows(chunk).sum_dim(0).into_data_async().await?;
        mean.iter_mut().zip(sum.iter::<f64>()).for_each(|(mean, sum)| *mean += sum / images as f64);
    }
    let mean = to_device(mean, 1);
    // Rows of [X^T X | X^T Y].
    let mut system = vec![0.0_f64; inputs * columns];
    for chunk in chunks(images, CHUNK) {
        let x = train.values.rows(chunk.clone()) - mean.clone();
        let y = train.one_hot(chunk, classes);
        let product = x.clone().transpose().matmul(Tensor::cat(vec![x, y], 1)).into_data_async().await?;
        system.iter_mut().zip(product.iter::<f64>()).for_each(|(sum, part)| *sum += part);
    }
    let diagonal = || (0..inputs).map(|at| at * columns + at);
    let variance = diagonal().map(|at| system[at]).sum::<f64>() / (inputs * images) as f64;
    // Features that never vary explain nothing: any ridge at all makes their weights zero.
    let ridge = (lambda * variance * images as f64).max(f64::MIN_POSITIVE);
    diagonal().for_each(|at| system[at] += ridge);
    let weight = solve(system, inputs).ok_or(RidgeError::Indefinite { inputs, lambda })?;

    let mut shares = vec![0.0_f64; classes];
    train.labels.iter().for_each(|label| shares[*label as usize] += 1.0 / images as f64);
    let weight = to_device(weight, inputs);
    let bias = to_device(shares, 1) - mean.matmul(weight.clone());
    Ok([weight, bias])
}

/// Solves `A W = B`, with `A` symmetric and positive definite, by Cholesky's factorisation `A = U^T U`. Takes the rows
/// of `[A | B]`, `unknowns` of them, and returns those of `W`; `None` if a pivot is not positive.
///
/// The factorisation leaves the rows of `[U | U^-T B]`, so forward substitution is part of it. Every inner loop adds
/// a multiple of one row to another, which vectorises.
fn solve(mut system: Vec<f64>, unknowns: usize) -> Option<Vec<f64>> {
    let columns = system.len() / unknowns;
    let subtract = |row: &mut [f64], factor: f64, other: &[f64]| {
        row.iter_mut().zip(other).for_each(|(value, other)| *value -= factor * other);
    };
    for at in 0..unknowns {
        let (above, row) = system.split_at_mut(at * columns);
        let row = &mut row[at..columns];
        for above in above.chunks_exact(columns) {
            subtract(row, above[at], &above[at..]);
        }
        let pivot = Some(row[0].sqrt()).filter(|pivot| *pivot > 0.0)?;
        row.iter_mut().for_each(|value| *value /= pivot);
    }
    for at in (0..unknowns).rev() {
        let (rows, below) = system.split_at_mut((at + 1) * columns);
        let (factors, row) = rows[at * columns..].split_at_mut(unknowns);
        for (factor, below) in factors[at + 1..].iter().zip(below.chunks_exact(columns)) {
            subtract(row, *factor, &below[unknowns..]);
        }
        row.iter_mut().for_each(|value| *value /= factors[at]);
    }
    Some(system.chunks_exact(columns).flat_map(|row| &row[unknowns..]).copied().collect())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use burn::tensor::Device;
    use futures::executor::block_on;

    use super::*;
    use crate::eval::Accuracy;

    /// Creates features from rows of values, and labels.
    fn features<const F: usize>(rows: Vec<[f32; F]>, labels: Vec<u32>) -> Features {
        let data = TensorData::new(rows.concat(), [rows.len(), F]);
        let values = Rc::new(Tensor::<2>::from_data(data, &Device::flex()));
        Features { values, indices: (0..labels.len()).collect(), labels }
    }

    fn values(tensor: Tensor<2>) -> Vec<f64> {
        tensor.into_data().iter().collect()
    }

    #[track_caller]
    fn close(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        let far = found.iter().zip(expected).find(|(a, b)| (*a - *b).abs() > tolerance);
        assert_eq!(far, None, "{found:?} is not {expected:?}");
    }

    #[test]
    fn one_feature_by_hand() {
        // Centred: -1, -1, 1, 1, of variance 1, so that X^T X + lambda n = 8, and X^T Y = [-2, 2].
        let train = features(vec![[2.0], [2.0], [4.0], [4.0]], vec![0, 0, 1, 1]);
        let [weight, bias] = block_on(fit(&train, 1.0)).unwrap();
        close(&values(weight), &[-0.25, 0.25], 1e-6);
        close(&values(bias), &[1.25, -0.25], 1e-6);
        let test = features(vec![[1.0], [5.0], [5.0], [1.0]], vec![0, 1, 0, 2]);
        let accuracy = block_on(ridge(&train, &test, 1.0)).unwrap();
        assert_eq!([accuracy.top1, accuracy.top5], [Accuracy::new(2, 4), Accuracy::new(3, 4)]);
    }

    #[test]
    fn the_gradient_vanishes_at_the_solution() {
        const LAMBDA: f64 = 0.1;
        let images = CHUNK + 1000;
        let wave = |n: usize, speed: f32| (n as f32 * speed).sin();
        let rows: Vec<[f32; 3]> =
            (0..images).map(|n| [5.0 + wave(n, 0.7), 0.1 * wave(n, 1.3), wave(n, 0.7) + wave(n, 2.1)]).collect();
        let labels: Vec<u32> = rows.iter().map(|row| u32::from(row[0] > 5.2) + u32::from(row[2] > 0.5)).collect();
        let train = features(rows.clone(), labels.clone());
        let [weight, bias] = block_on(fit(&train, LAMBDA)).unwrap();
        let (weight, bias) = (values(weight), values(bias));

        let mean: Vec<f64> =
            (0..3).map(|f| rows.iter().map(|row| f64::from(row[f])).sum::<f64>() / images as f64).collect();
        let centred = |row: &[f32; 3], f: usize| f64::from(row[f]) - mean[f];
        let squares: f64 = rows.iter().flat_map(|row| (0..3).map(|f| centred(row, f).powi(2))).sum();
        for class in 0..3 {
            let residual = |(row, label): (&[f32; 3], &u32)| {
                let score: f64 = (0..3).map(|f| f64::from(row[f]) * weight[3 * f + class]).sum();
                score + bias[class] - f64::from(u8::from(*label as usize == class))
            };
            let residuals: Vec<f64> = rows.iter().zip(&labels).map(residual).collect();
            let mut gradient: Vec<f64> = (0..3)
                .map(|f| {
                    let data: f64 = rows.iter().zip(&residuals).map(|(row, residual)| centred(row, f) * residual).sum();
                    (data + LAMBDA * squares / 3.0 * weight[3 * f + class]) / images as f64
                })
                .collect();
            gradient.push(residuals.iter().sum::<f64>() / images as f64);
            close(&gradient, &[0.0; 4], 1e-5);
        }
    }

    /// Appendix A: the first rows of the whole solution solve the problem of the first features alone only if the other
    /// features are orthogonal to them.
    #[test]
    fn a_slice_of_the_solution_solves_the_slice_only_if_the_rest_is_orthogonal() {
        // Four columns of the Hadamard matrix of order 8: centred, orthogonal, of variance 1.
        let sign = |bits: usize| if bits.count_ones().is_multiple_of(2) { 1.0_f32 } else { -1.0 };
        let rows: Vec<[f32; 4]> = (0..8).map(|n| [1, 2, 4, 7].map(|column| sign(n & column))).collect();
        let labels = vec![0, 1, 2, 0, 1, 0, 2, 2];
        let gap = |mixed: f32| {
            // The first two features correlate with each other; `mixed`, with the other two as well.
            let mix = |[a, b, c, d]: [f32; 4]| [a, 0.6 * a + 0.8 * b, c + mixed * a, d - mixed * b];
            let whole: Vec<[f32; 4]> = rows.iter().copied().map(mix).collect();
            let slice: Vec<[f32; 2]> = whole.iter().map(|[a, b, ..]| [*a, *b]).collect();
            let weight =
                |features: Features| values(block_on(fit(&features, 1e-6)).unwrap().into_iter().next().unwrap());
            let (whole, slice) = (weight(features(whole, labels.clone())), weight(features(slice, labels.clone())));
            whole.iter().zip(&slice).map(|(whole, slice)| (whole - slice).abs()).fold(0.0, f64::max)
        };
        assert!(gap(0.0) < 1e-5, "{}", gap(0.0));
        assert!(gap(0.5) > 0.05, "{}", gap(0.5));
    }

    #[test]
    fn constant_features_have_zero_weight_and_nan_is_an_error() {
        let constant = features(vec![[3.0, 0.0]; 3], vec![0, 1, 1]);
        let [weight, bias] = block_on(fit(&constant, 1e-3)).unwrap();
        close(&values(weight), &[0.0; 4], 1e-6);
        close(&values(bias), &[1.0 / 3.0, 2.0 / 3.0], 1e-6);
        let broken = features(vec![[3.0], [f32::NAN]], vec![0, 1]);
        let error = block_on(fit(&broken, 1e-3)).unwrap_err();
        assert!(error.to_string().contains("no solution at lambda = 0.001"), "{error}");
    }
}
