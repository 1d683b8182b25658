//! How good are the features? (spec section 7)

pub mod features;
pub mod knn;
pub mod probe;

/// A share of test images, with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// The fraction that is right.
    pub fraction: f64,
    /// Binomial standard error of the fraction.
    pub standard_error: f64,
}

impl Accuracy {
    /// `right` of `total`.
    pub fn new(right: usize, total: usize) -> Self {
        let fraction = right as f64 / total as f64;
        Self { fraction, standard_error: (fraction * (1.0 - fraction) / total as f64).sqrt() }
    }
}
