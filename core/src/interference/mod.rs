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

/// Measures interference, one step after the other.
pub struct Observer {
    stages: Vec<(String, Vec<ParameterId>)>,
    /// The last layers' gradients of the steps measured so far.
    history: Vec<LastGradients>,
}

impl Observer {
    /// An observer of `encoder`'s training that has seen `history`.
    pub fn new(encoder: &Encoder, history: Vec<LastGradients>) -> Self {
        Self { stages: weights_by_stage(encoder), history }
    }

    /// What happened in the step before which there were `step` - 1, with the gradients of the last layers; nothing if a
    /// gradient is no finite number: the loss will tell.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn observe(
        &mut self,
        encoder: &Encoder,
        outcome: &StepOutcome,
        (step, epoch): (u64, f64),
    ) -> Result<Option<(Interference, &LastGradients)>, ExecutionError> {
        let (layout, gradients) = (encoder.layout(), &outcome.gradients);
        let gradient = GradientNorms::measure(layout, gradients).await?;
        if !gradient.norms.iter().all(|norm| norm.is_finite()) {
            return Ok(None);
        }
        let (agreement, stages) = Agreement::measure(layout, &self.stages, &outcome.widths).await?;
        let last = LastGradients::read(layout, gradients).await?;
        let last_layers = last.measure(&self.history);
        self.history.push(last);
        let event = Interference { step, epoch, gradient, last_layers, agreement, stages };
        Ok(self.history.last().map(|last| (event, last)))
    }
}
