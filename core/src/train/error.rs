//! Why a training run fails.

use burn::tensor::ExecutionError;
use thiserror::Error;

use super::Split;
use crate::{checkpoint::CheckpointError, config::ConfigError};

/// The error of a training run.
#[derive(Debug, Error)]
pub enum TrainError<E: std::error::Error + 'static> {
    /// The host failed to read images or to store files.
    #[error(transparent)]
    Host(E),
    /// There are no images to evaluate on.
    #[error("none of the {0:?} images can be decoded, so there is nothing to evaluate: check the data folder")]
    NoImages(Split),
    /// The options do not fit the data.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The device failed.
    #[error("the device failed: {0}. Checkpoints saved before are intact")]
    Device(#[from] ExecutionError),
    /// The state could not be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// This rank would train another run than rank 0.
    #[error("this process has another {what} than process 0: start all with the same program, options and images")]
    OtherRank {
        /// What differs.
        what: &'static str,
    },
    /// No scale keeps the gradients within 16 bits.
    #[error(
        "gradients overflow in f16 at every loss scale, so training has stopped. Checkpoints saved before are intact. Use \
         --precision bf16 or f32"
    )]
    Overflow,
    /// A loss is NaN or infinite.
    #[error(
        "training has diverged: the loss of width {width} is {loss} at step {step}. Checkpoints saved before are intact. \
         Try a lower learning_rate or a longer warmup"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// The width.
        width: f64,
        /// Its loss.
        loss: f64,
    },
}
