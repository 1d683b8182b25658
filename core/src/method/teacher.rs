//! The teacher of two-stage methods: a trained network whose outputs a student imitates.

use burn::tensor::Tensor;
use slimclr_run::compress::CompressMemory;
use thiserror::Error;

use super::MethodKind;
use crate::{
    config::Config,
    encoder::{Encoder, EncoderConfig},
    forward::{Forward, Mode},
    head::HeadKind,
    loss::normalize,
    parameter::Parameters,
    precision::Precision,
};

/// A trained network, used at its full width and without gradients. With batch statistics, a pass updates its running
/// ones, but no output depends on them.
#[derive(Debug, Clone)]
pub struct Teacher {
    /// The architecture.
    pub encoder: Encoder,
    /// The weights.
    pub parameters: Parameters,
    /// The moving average of the weights, if it is known; used by SimDis.
    pub average: Option<Parameters>,
}

/// Why a network cannot teach a run.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TeacherError {
    /// It has no head, whose outputs the method compares.
    #[error(
        "it has no projection head, but the method compares its outputs: choose a file with a head, or --method compress"
    )]
    NoHead,
    /// Its embeddings have another dimension.
    #[error("its embeddings have {found} dimensions, but the student's have {dim}: set --dim {found}")]
    Embedding {
        /// Its dimension.
        found: usize,
        /// The student's.
        dim: usize,
    },
    /// Its features have another dimension than the student's outputs (CompRess with one queue).
    #[error("its features have {found} dimensions, but the student's outputs have {dim}: set --dim {found}")]
    Features {
        /// Its dimension.
        found: usize,
        /// The student's.
        dim: usize,
    },
}

impl Teacher {
    /// Creates the teacher of a run from a trained network, which `architecture` describes.
    ///
    /// # Errors
    /// If the run's method cannot compare its student with this network.
    pub fn new(
        config: &Config,
        architecture: &EncoderConfig,
        (encoder, parameters): (Encoder, Parameters),
    ) -> Result<Self, TeacherError> {
        let dim = config.dim;
        match config.method {
            MethodKind::Compress => {
                let found = encoder.backbone().features().full();
                if config.memory == CompressMemory::OneQueue && found != dim {
                    return Err(TeacherError::Features { found, dim });
                }
            }
            _ if architecture.head == HeadKind::None => return Err(TeacherError::NoHead),
            _ if architecture.outputs != dim => {
                return Err(TeacherError::Embedding { found: architecture.outputs, dim });
            }
            _ => {}
        }
        Ok(Self { encoder, parameters, average: None })
    }

    /// Computes the head's outputs, normalised. Shapes: `[n, 3, height, width]` to `[n, d]`.
    pub fn embeddings(&mut self, views: Tensor<4>, mode: Mode, precision: Precision) -> Tensor<2> {
        normalize(self.outputs(views, mode, precision))
    }

    /// Computes the head's outputs. Shapes: `[n, 3, height, width]` to `[n, d]`.
    pub fn outputs(&mut self, views: Tensor<4>, mode: Mode, precision: Precision) -> Tensor<2> {
        Forward::new(&mut self.parameters, 0, mode).in_precision(precision).project(&self.encoder, views)
    }

    /// Computes the backbone's features. Shapes: `[n, 3, height, width]` to `[n, F]`.
    pub fn features(&mut self, views: Tensor<4>, mode: Mode, precision: Precision) -> Tensor<2> {
        Forward::new(&mut self.parameters, 0, mode).in_precision(precision).features(&self.encoder, views)
    }
}
