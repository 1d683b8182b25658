//! Switchable batch norm.

use crate::{
    layout::{Layout, ParameterId, ParameterSpec, Role},
    width::{Channels, WidthError},
};

/// The constants of a batch norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormConstants {
    /// Weight of the batch's statistics in the update of the running ones.
    pub momentum: f64,
    /// Added to the variance before its root is taken.
    pub epsilon: f64,
}

impl NormConstants {
    /// PyTorch's defaults.
    pub const PYTORCH: Self = Self { momentum: 0.1, epsilon: 1e-5 };
    /// Those of Google's EfficientNets, which TensorFlow counts the other way round: momentum 0.99.
    pub const TENSORFLOW: Self = Self { momentum: 0.01, epsilon: 1e-3 };
}

/// One complete batch norm per width: scale, shift and running statistics.
///
/// Features of different widths have different statistics, so they cannot share a norm (paper section 3.1). Training
/// normalises by the biased variance; the running variance is an average of unbiased ones.
#[derive(Debug, Clone)]
pub struct SwitchableBatchNorm {
    per_width: Vec<BatchNorm>,
    constants: NormConstants,
}

#[derive(Debug, Clone)]
struct BatchNorm {
    /// Scale and shift, if it has them.
    affine: Option<[ParameterId; 2]>,
    /// Running mean and variance.
    running: [ParameterId; 2],
}

impl SwitchableBatchNorm {
    /// Creates norms named `name.bn.0`, `name.bn.1`, … in the order of the widths, with the initial scale `gamma`.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn new(layout: &mut Layout, name: &str, channels: Channels, gamma: f64) -> Result<Self, WidthError> {
        Self::with_scale(layout, name, channels, Some(gamma))
    }

    /// Creates norms without scale and shift.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn without_affine(layout: &mut Layout, name: &str, channels: Channels) -> Result<Self, WidthError> {
        Self::with_scale(layout, name, channels, None)
    }

    fn with_scale(layout: &mut Layout, name: &str, channels: Channels, gamma: Option<f64>) -> Result<Self, WidthError> {
        let widths = layout.widths().clone();
        let per_width = (0..widths.len())
            .map(|index| {
                let mut vector = |part: &str, role| {
                    let (name, channels) = (format!("{name}.bn.{index}.{part}"), channels.at(&widths, index));
                    layout.add(ParameterSpec::vector(name, role, Channels::Fixed(channels), Some(index)))
                };
                let affine = match gamma {
                    Some(initial) => Some([
                        vector("weight", Role::PerChannel { initial })?,
                        vector("bias", Role::PerChannel { initial: 0.0 })?,
                    ]),
                    None => None,
                };
                let mean = vector("running_mean", Role::Running { initial: 0.0 })?;
                let variance = vector("running_var", Role::Running { initial: 1.0 })?;
                Ok(BatchNorm { affine, running: [mean, variance] })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { per_width, constants: NormConstants::PYTORCH })
    }

    /// Returns the same norms with these constants.
    pub fn with_constants(self, constants: NormConstants) -> Self {
        Self { constants, ..self }
    }

    /// Returns the constants, which all widths share.
    pub fn constants(&self) -> NormConstants {
        self.constants
    }

    /// Returns scale and shift of the width at `index`, if it has them.
    pub fn affine(&self, index: usize) -> Option<[ParameterId; 2]> {
        self.per_width[index].affine
    }

    /// Returns the running mean and variance of the width at `index`.
    pub fn running(&self, index: usize) -> [ParameterId; 2] {
        self.per_width[index].running
    }
}
