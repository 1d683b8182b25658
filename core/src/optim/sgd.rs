//! Stochastic gradient descent with momentum (Sutskever et al. 2013, as PyTorch writes it).

use burn::tensor::Tensor;

use crate::{
    gradient::GradientSum,
    parameter::{Layout, ParameterId, Parameters},
};

/// SGD with momentum; weight decay on the weights only, not on norms or biases.
#[derive(Debug, Clone)]
pub struct Sgd {
    momentum: f64,
    weight_decay: f64,
    velocity: Vec<Option<Tensor<4>>>,
}

impl Sgd {
    /// No velocity yet.
    pub fn new(layout: &Layout, momentum: f64, weight_decay: f64) -> Self {
        Self { momentum, weight_decay, velocity: vec![None; layout.iter().count()] }
    }

    /// Moves every parameter that has a gradient: `v <- momentum v + (g + decay p)`, `p <- p - rate v`.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &GradientSum, rate: f64) {
        for (id, spec) in parameters.layout().clone().iter() {
            let Some(gradient) = gradients.get(id).cloned() else { continue };
            let gradient = if spec.is_weight() && self.weight_decay != 0.0 {
                gradient + parameters.get(id).clone().mul_scalar(self.weight_decay)
            } else {
                gradient
            };
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
