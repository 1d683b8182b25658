//! Gradient interference between widths: measured as in the paper, located by stage, and reduced by surgery.

pub mod conflict;
pub mod direction;
pub mod landscape;
pub mod magnitude;
pub mod plane;
pub mod surgery;

use burn::tensor::ExecutionError;
pub use slimclr_run::interference::{agreement, eigen, path};

use self::direction::LastGradients;
use crate::{
    encoder::Encoder, event::Interference, layout::ParameterId, method::StepOutcome, profile::weights_by_stage,
};

/// Measures interference.
pub struct Observer {
    stages: Vec<(String, Vec<ParameterId>)>,
}

impl Observer {
    /// Creates an observer of `encoder`'s training.
    pub fn new(encoder: &Encoder) -> Self {
        Self { stages: weights_by_stage(encoder) }
    }

    /// Measures the interference in a step. Also returns the last layers' gradients, which are still to be related to
    /// earlier ones. Returns `None` if a gradient is NaN or infinite: in f16 the loss scale was too high, otherwise
    /// training diverges, as the loss shows.
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
        let gradient = magnitude::gradient_norms(layout, gradients).await?;
        if !gradient.norms.iter().all(|norm| norm.is_finite()) {
            return Ok(None);
        }
        let (agreement, stages) = conflict::agreement(layout, &self.stages, &outcome.widths).await?;
        let last_gradients = LastGradients::read(layout, gradients).await?;
        let last_layers = last_gradients.measure();
        Ok(Some((Interference { step, epoch, gradient, last_layers, agreement, stages }, last_gradients)))
    }
}
