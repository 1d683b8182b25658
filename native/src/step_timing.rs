//! How long training steps take on this machine.

use std::time::Instant;

use anyhow::Result;
use burn::tensor::Device;
use slimclr_core::method::{Batch, StepPlan, Trainer};

/// Steps that are timed at most.
const STEPS: usize = 8;
/// Seconds after which no further step is timed.
const SECONDS: f64 = 20.0;

/// Returns how many seconds a step takes, with sub-networks or without: the mean over the later half of a few, since the
/// first ones also allocate memory and compile kernels. The weights do not change.
///
/// # Errors
/// If a batch cannot be made, or the device fails.
pub fn seconds_per_step(
    trainer: &mut Trainer,
    device: &Device,
    trains_subnetworks: bool,
    mut batch: impl FnMut() -> Result<Batch>,
) -> Result<f64> {
    let begun = Instant::now();
    let mut seconds = Vec::with_capacity(STEPS);
    while seconds.len() < STEPS && begun.elapsed().as_secs_f64() < SECONDS {
        let start = Instant::now();
        trainer.step(batch()?, StepPlan { trains_subnetworks, ..StepPlan::trial(0.0) });
        device.sync()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let later = &seconds[seconds.len() / 2..];
    Ok(later.iter().sum::<f64>() / later.len() as f64)
}
