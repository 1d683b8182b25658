//! Stochastic gradient descent with momentum (Sutskever et al. 2013, as PyTorch writes it), and LARS (You et al.
//! 2017), which is the same with a rate of its own for every tensor.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{
    gradient::GradientSum,
    parameter::{Layout, ParameterId, Parameters},
};

/// LARS' trust coefficient (spec section 3).
const TRUST: f64 = 0.001;

/// The optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum
    Sgd,
    /// The same, each weight's step in proportion to its norm: for large batches
    Lars,
}

/// An optimiser and the velocities it has built up.
#[derive(Debug, Clone)]
pub struct Optimizer {
    kind: OptimizerKind,
    momentum: f64,
    weight_decay: f64,
    velocity: Vec<Option<Tensor<4>>>,
}

impl Optimizer {
    /// No velocity yet. Weights decay, norms and biases do not.
    pub fn new(kind: OptimizerKind, layout: &Layout, momentum: f64, weight_decay: f64) -> Self {
        Self { kind, momentum, weight_decay, velocity: vec![None; layout.iter().count()] }
    }

    /// Moves every parameter that has a gradient: `v <- momentum v + trust (g + decay p)`, `p <- p - rate v`. The
    /// trust is 1 for SGD, norms and biases, else `0.001 |p| / |g + decay p|`.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &GradientSum, rate: f64) {
        for (id, spec) in parameters.layout().clone().iter() {
            let Some(mut gradient) = gradients.get(id).cloned() else { continue };
            if spec.is_weight() && self.weight_decay != 0.0 {
                gradient = gradient + parameters.get(id).clone().mul_scalar(self.weight_decay);
            }
            if spec.is_weight() && self.kind == OptimizerKind::Lars {
                gradient = trusted(gradient, parameters.get(id));
            }
            let slot = &mut self.velocity[id.0];
            let velocity = match slot.take() {
                None => gradient,
                Some(velocity) => velocity.mul_scalar(self.momentum) + gradient,
            };
            *slot = Some(velocity.clone());
            parameters.update(id, |value| value - velocity.mul_scalar(rate));
        }
    }

    /// The velocity of `id`, if it has ever had a gradient.
    pub fn velocity(&self, id: ParameterId) -> Option<&Tensor<4>> {
        self.velocity[id.0].as_ref()
    }

    /// Sets the velocity of `id`, as a checkpoint has it.
    pub fn set_velocity(&mut self, id: ParameterId, velocity: Tensor<4>) {
        self.velocity[id.0] = Some(velocity);
    }
}

/// `update` with a norm in proportion to the parameter's; as it is where either is zero.
fn trusted(update: Tensor<4>, parameter: &Tensor<4>) -> Tensor<4> {
    let norm = |x: Tensor<4>| x.powi_scalar(2).sum().sqrt();
    let [of_parameter, of_update] = [norm(parameter.clone()), norm(update.clone())];
    let is_zero = (of_parameter.clone() * of_update.clone()).equal_elem(0.0);
    let trust = (of_parameter.mul_scalar(TRUST) / of_update).mask_fill(is_zero, 1.0);
    update * trust.unsqueeze()
}
