//! Dynamic loss scaling for 16-bit floats of small range (Micikevicius et al. 2018, section 3.2).

use burn::tensor::{Bool, Device, ExecutionError, Tensor};

use crate::{gradient::GradientSum, optim::Optimizer, parameter::Parameters};

/// The initial scale, as in PyTorch.
const INITIAL: f64 = 65536.0;
/// The lowest scale: a lower one cannot help gradients that overflow unscaled.
const LEAST: f64 = 1.0;
/// Steps without an overflow after which the scale doubles.
const PATIENCE: f64 = 2000.0;

/// A factor of the loss that keeps small gradients from vanishing in 16 bits. It halves when a gradient overflows and
/// doubles after 2,000 steps without overflow. It stays on the device.
#[derive(Debug, Clone)]
pub struct LossScale {
    /// The scale, and the steps since it last changed: `[2]`.
    state: Tensor<1>,
}

impl LossScale {
    /// Creates the initial scale.
    pub fn new(device: &Device) -> Self {
        Self { state: Tensor::from_data([INITIAL, 0.0], device) }
    }

    /// Restores the scale from a checkpoint's state, `[2]`.
    pub fn from_state(state: Tensor<1>) -> Self {
        Self { state }
    }

    /// Returns the state for a checkpoint, `[2]`.
    pub fn state(&self) -> &Tensor<1> {
        &self.state
    }

    /// Returns the scale, `[1]`.
    pub fn scale(&self) -> Tensor<1> {
        self.state.clone().narrow(0, 0, 1)
    }

    /// Returns whether it cannot be lowered further.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn is_exhausted(&self) -> Result<bool, ExecutionError> {
        let scale = self.scale().into_data_async().await?;
        Ok(scale.iter::<f64>().all(|scale| scale <= LEAST))
    }

    /// Divides `gradients` by the scale, and updates the scale. Returns whether they had overflowed, `[1]`.
    pub fn unscale(&mut self, gradients: &mut GradientSum) -> Tensor<1, Bool> {
        let scale = self.scale();
        *gradients = gradients.scaled(scale.clone().recip());
        let overflowed = gradients.norm().is_finite().bool_not();
        let steps = self.state.clone().narrow(0, 1, 1).add_scalar(1.0);
        let patient = steps.clone().greater_equal_elem(PATIENCE);
        let grown = scale.clone().mask_where(patient.clone(), scale.clone().mul_scalar(2.0));
        let adapted = grown.mask_where(overflowed.clone(), scale.div_scalar(2.0).clamp_min(LEAST));
        let steps = steps.mask_fill(patient.bool_or(overflowed.clone()), 0.0);
        self.state = Tensor::cat(vec![adapted, steps], 0);
        overflowed
    }
}

/// Undoes an optimiser's step if `overflowed` holds.
pub fn undo_where(
    overflowed: &Tensor<1, Bool>,
    (parameters, optimizer): (&mut Parameters, &mut Optimizer),
    (parameters_before, optimizer_before): (&Parameters, &Optimizer),
) {
    let chosen = |now: Tensor<1>, before: Tensor<1>| {
        let shape = now.dims();
        now.mask_where(overflowed.clone().expand(shape), before)
    };
    parameters.change_packed(|values| chosen(values, parameters_before.packed()));
    optimizer.change_velocities(|velocity| {
        let before = optimizer_before.velocities().cloned().unwrap_or_else(|| velocity.zeros_like());
        chosen(velocity, before)
    });
}
