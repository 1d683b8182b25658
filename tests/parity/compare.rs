//! Comparison with the authors' numbers.

use burn::tensor::{DType, Tensor};
use serde::Deserialize;

/// Differences of one case; none if it passes.
#[derive(Default)]
pub struct Differences {
    pub found: Vec<String>,
    pub compared: usize,
}

/// What is compared, which decides how far it may stray in f32.
#[derive(Clone, Copy)]
pub enum What {
    EvalOutput,
    TrainOutput,
    Gradient,
    LossOrOptimizer,
    TrainingLoss,
    TrainingParameter,
}

/// Largest difference, relative to the expected tensor's norm (the parity folder's README, "Tolerance").
pub fn tolerance(what: What, variant: &str, dtype: DType) -> f64 {
    if dtype == DType::F64 {
        return 1e-7;
    }
    let imagenet = variant == "imagenet";
    match what {
        What::EvalOutput => 1e-5,
        What::TrainOutput if imagenet => 1e-2,
        What::TrainOutput => 1e-4,
        What::Gradient if imagenet => 5e-2,
        What::Gradient => 2e-3,
        What::LossOrOptimizer => 1e-4,
        What::TrainingLoss => 1e-3,
        What::TrainingParameter => 1e-2,
    }
}

/// A whole tensor.
#[derive(Deserialize)]
pub struct Stored {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// l2 norm, sum, first four elements.
pub type Fingerprint = Vec<f64>;

pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.clone().into_data().iter::<f64>().collect()
}

impl Differences {
    fn record(&mut self, name: &str, found: f64, expected: f64, difference: f64, allowed: f64) {
        self.compared += 1;
        if difference.is_nan() || difference > allowed {
            self.found.push(format!(
                "{name}: {found} instead of {expected} (off by {difference:.1e}, allowed {allowed:.1e})"
            ));
        }
    }

    /// A number, relative to its own size.
    pub fn number(&mut self, name: &str, found: f64, expected: f64, tolerance: f64) {
        self.record(name, found, expected, (found - expected).abs(), tolerance * expected.abs());
    }

    /// A tensor, relative to its norm.
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

    /// A fingerprint: norm and elements against the norm, the sum against norm times the square root of the count.
    pub fn fingerprint(&mut self, name: &str, found: &[f64], expected: &[f64], tolerance: f64) {
        let size = norm(found.iter().copied());
        let summary: Vec<f64> = [size, found.iter().sum()].into_iter().chain(found.iter().copied().take(4)).collect();
        let allowed = tolerance * expected[0].abs();
        for (place, (found_part, expected_part)) in summary.iter().zip(expected).enumerate() {
            let allowed = if place == 1 { allowed * (found.len() as f64).sqrt() } else { allowed };
            let part = ["norm", "sum", "[0]", "[1]", "[2]", "[3]"][place];
            let difference = (found_part - expected_part).abs();
            self.record(&format!("{name} {part}"), *found_part, *expected_part, difference, allowed);
        }
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}
