//! Compares results with the authors' numbers.

use burn::tensor::{DType, Tensor};
use serde::Deserialize;

/// Differences of one case, which passes if there are none.
#[derive(Default)]
pub struct Differences {
    pub found: Vec<String>,
    pub compared: usize,
}

/// The kind of a compared quantity, which decides its tolerance in f32.
#[derive(Clone, Copy)]
pub enum Quantity {
    EvalOutput,
    TrainOutput,
    Gradient,
    LossOrOptimizer,
    TrainingLoss,
    TrainingParameter,
    /// Losses, gradients and queues of the comparison systems.
    TwoStage,
}

/// Returns the tolerance, relative to the expected tensor's norm (README of `fixtures/parity`, "Tolerance").
pub fn tolerance(quantity: Quantity, variant: &str, dtype: DType) -> f64 {
    if dtype == DType::F64 {
        return 1e-7;
    }
    let imagenet = variant == "imagenet";
    match quantity {
        Quantity::EvalOutput => 1e-5,
        Quantity::TrainOutput if imagenet => 1e-2,
        Quantity::TrainOutput => 1e-4,
        Quantity::Gradient if imagenet => 5e-2,
        Quantity::Gradient => 2e-3,
        Quantity::LossOrOptimizer => 1e-4,
        Quantity::TrainingLoss => 1e-3,
        Quantity::TrainingParameter => 1e-2,
        Quantity::TwoStage => 1e-5,
    }
}

/// A tensor of a parity case.
#[derive(Deserialize)]
pub struct Stored {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// L2 norm, sum and first four elements of a tensor.
pub type Fingerprint = Vec<f64>;

pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.clone().into_data().iter::<f64>().collect()
}

impl Differences {
    fn record(&mut self, name: &str, found: f64, expected: f64, difference: f64, allowed: f64) {
        self.compared += 1;
        if difference.is_nan() || difference > allowed {
            self.found.push(format!(
                "{name}: {found} instead of {expected} (difference {difference:.1e}, tolerance {allowed:.1e})"
            ));
        }
    }

    /// Compares a number, relative to the expected one.
    pub fn number(&mut self, name: &str, found: f64, expected: f64, tolerance: f64) {
        self.record(name, found, expected, (found - expected).abs(), tolerance * expected.abs());
    }

    /// Compares a number within a distance.
    pub fn within(&mut self, name: &str, found: f64, expected: f64, distance: f64) {
        self.record(name, found, expected, (found - expected).abs(), distance);
    }

    /// Compares whole numbers, each of which must be the expected one.
    pub fn exact<T: PartialEq + std::fmt::Debug>(&mut self, name: &str, found: &[T], expected: &[T]) {
        self.compared += expected.len();
        if found != expected {
            self.found.push(format!("{name}: {found:?} instead of {expected:?}"));
        }
    }

    /// Compares a tensor, relative to the expected tensor's norm.
    pub fn tensor<const D: usize>(&mut self, name: &str, found: &Tensor<D>, expected: &Stored, tolerance: f64) {
        if found.dims().to_vec() != expected.shape {
            self.found.push(format!("{name}: shape {:?} instead of {:?}", found.dims(), expected.shape));
            return;
        }
        let found = values(found);
        let difference = norm(found.iter().zip(&expected.data).map(|(a, b)| a - b));
        let size = norm(expected.data.iter().copied());
        self.record(name, norm(found.into_iter()), size, difference, tolerance * size);
    }

    /// Compares a fingerprint: norm and elements relative to the norm, the sum relative to the norm times the square
    /// root of the number of elements.
    pub fn fingerprint(&mut self, name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
        let size = norm(found.iter().copied());
        let summary: Vec<f64> = [size, found.iter().sum()].into_iter().chain(found.iter().copied().take(4)).collect();
        let allowed = tolerance * expected[0].abs();
        for (index, (found_part, expected_part)) in summary.iter().zip(expected).enumerate() {
            let allowed = if index == 1 { allowed * (found.len() as f64).sqrt() } else { allowed };
            let part = ["norm", "sum", "[0]", "[1]", "[2]", "[3]"][index];
            let difference = (found_part - expected_part).abs();
            self.record(&format!("{name} {part}"), *found_part, *expected_part, difference, allowed);
        }
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}
