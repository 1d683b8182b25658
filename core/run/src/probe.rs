//! Options of the linear probe.

use serde::{Deserialize, Serialize};

use crate::{
    config::{ConfigError, in_range},
    schedule::Decay,
};

/// Features per step: fewer than the publications' 1024, because most data sets are smaller than ImageNet.
const BATCH: usize = 256;

/// How the probe is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeConfig {
    /// Passes over the training features.
    pub epochs: u64,
    /// Features per step.
    pub batch: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// Decay of the rate. [`Decay::Step`] divides it by 10 after 60% and after 80% of the epochs.
    pub decay: Decay,
}

impl ProbeConfig {
    /// Returns the paper's probe for MoCov2's features.
    pub fn moco_v2() -> Self {
        Self { epochs: 100, batch: 1024, rate: 60.0, decay: Decay::Step }.at_batch(BATCH)
    }

    /// Returns the paper's probe for MoCov3's features.
    pub fn moco_v3() -> Self {
        Self { epochs: 90, batch: 1024, rate: 0.4, decay: Decay::Cosine }.at_batch(BATCH)
    }

    /// Returns the same probe with `batch` features per step, and the rate in proportion.
    pub fn at_batch(self, batch: usize) -> Self {
        Self { batch, rate: self.rate * batch as f64 / self.batch as f64, ..self }
    }

    /// Checks the options.
    ///
    /// # Errors
    /// Names the first option that is not valid.
    pub fn check(&self) -> Result<(), ConfigError> {
        in_range("probe-epochs", self.epochs as f64, self.epochs >= 1, "at least 1")?;
        in_range("probe-batch", self.batch as f64, self.batch >= 1, "at least 1")?;
        in_range("probe-rate", self.rate, self.rate > 0.0 && self.rate.is_finite(), "above 0")
    }
}
