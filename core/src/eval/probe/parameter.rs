//! What SGD trains of a classifier.

use burn::tensor::Tensor;

/// Momentum of the probe's SGD.
const MOMENTUM: f64 = 0.9;

/// A matrix and its momentum.
pub struct Parameter {
    pub value: Tensor<2>,
    velocity: Tensor<2>,
}

impl Parameter {
    /// Creates a parameter at rest.
    pub fn new(value: Tensor<2>) -> Self {
        Self { velocity: value.zeros_like(), value }
    }

    /// Begins a step: the velocity falls, and the weight decay, `decay` times the value, is added.
    pub fn begin(&mut self, decay: f64) {
        self.velocity.inplace(|velocity| velocity.mul_scalar(MOMENTUM));
        if decay > 0.0 {
            self.velocity.inplace(|velocity| velocity + self.value.clone().mul_scalar(decay));
        }
    }

    /// Changes the velocity, which a gradient is added to.
    pub fn accelerate(&mut self, change: impl FnOnce(Tensor<2>) -> Tensor<2>) {
        self.velocity.inplace(change);
    }

    /// Ends a step.
    pub fn descend(&mut self, rate: f64) {
        self.value.inplace(|value| value - self.velocity.clone().mul_scalar(rate));
    }
}
