//! Gradient interference between widths: as the paper measures it (spec section 5), where it comes from, and what can be
//! done about it.

pub mod conflict;
pub mod direction;
pub mod landscape;
pub mod magnitude;
pub mod plane;
pub mod spectrum;
pub mod surgery;

use burn::tensor::ExecutionError;

use self::{conflict::Agreement, direction::LastGradients, magnitude::GradientNorms};
use crate::{
    encoder::Encoder, event::Interference, method::StepOutcome, parameter::ParameterId, profile::weights_by_stage,
};

/// Measures interference.
pub struct Observer {
    stages: Vec<(String, Vec<ParameterId>)>,
}

impl Observer {
    /// An observer of `encoder`'s training.
    pub fn new(encoder: &Encoder) -> Self {
        Self { stages: weights_by_stage(encoder) }
    }

    /// How the gradients of a step interfered, and those of the last layers, which are still to be related to earlier
    /// ones. None if some gradient is no finite number: in f16 the scale of the loss was too high, else training
    /// diverges, which the loss tells.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn observe(
        &self,
        encoder: &Encoder,
        outcome: &StepOutcome,
        (step, epoch): (u64, f64),
    ) -> Result<Option<(Interference, LastGradients)>, ExecutionError> {
        let (layout, gradients) = (encoder.layout(), &outcome.gradients);
        let gradient = GradientNorms::measure(layout, gradients).await?;
        if !gradient.norms.iter().all(|norm| norm.is_finite()) {
            return Ok(None);
        }
        let (agreement, stages) = Agreement::measure(layout, &self.stages, &outcome.widths).await?;
        let last_gradients = LastGradients::read(layout, gradients).await?;
        let last_layers = last_gradients.measure();
        Ok(Some((Interference { step, epoch, gradient, last_layers, agreement, stages }, last_gradients)))
    }
}
