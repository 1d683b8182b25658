//! The schedule of a run: its steps, what each of them trains, and its learning rate.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The learning rate at step 0 of a warm-up.
const WARM_UP_FROM: f64 = 1e-8;

/// Decay of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Half a cosine, to zero
    Cosine,
    /// Divide by 10 at each milestone
    Step,
    /// A polynomial of power 0.9, to zero
    Poly,
    /// Half a hyperbolic tangent (HTD) from -6 to 3
    Htd,
    /// No decay
    Constant,
}

/// The learning rate of a run: linear warm-up, then decay (the authors' `CosineAnnealing`, `step`, `poly`, `HTD`).
#[derive(Debug, Clone, PartialEq)]
pub struct LrSchedule {
    /// Decay of the learning rate after the warm-up.
    pub decay: Decay,
    /// The highest learning rate, after the warm-up.
    pub peak: f64,
    /// Steps of the run.
    pub total_steps: u64,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// Epochs at which [`Decay::Step`] divides the rate by 10.
    pub milestones: Vec<f64>,
}

impl LrSchedule {
    /// Returns the learning rate at `step`, counted from 0, in the fractional `epoch`.
    pub fn rate(&self, step: u64, epoch: f64) -> f64 {
        if step <= self.warmup_steps && self.warmup_steps > 0 {
            let fraction = step as f64 / self.warmup_steps as f64;
            return WARM_UP_FROM + (self.peak - WARM_UP_FROM) * fraction;
        }
        let decaying = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let progress = (step - self.warmup_steps) as f64 / decaying as f64;
        self.peak
            * match self.decay {
                Decay::Cosine => (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0,
                Decay::Step => 0.1_f64.powi(self.milestones.iter().filter(|at| epoch >= **at).count() as i32),
                Decay::Poly => (1.0 - progress).max(0.0).powf(0.9),
                Decay::Htd => (1.0 - (-6.0 + 9.0 * progress).tanh()) / 2.0,
                Decay::Constant => 1.0,
            }
    }
}

/// Returns the momentum encoder's momentum at fractional `epoch` of `epochs`, rising from `initial` to 1 along a cosine
/// (MoCo v3).
pub fn cosine_momentum(initial: f64, epoch: f64, epochs: f64) -> f64 {
    1.0 - (1.0 - initial) * (1.0 + (std::f64::consts::PI * epoch / epochs).cos()) / 2.0
}

/// The steps of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSchedule {
    /// Full batches in one pass over the images.
    pub steps_per_epoch: u64,
    /// Steps of the run.
    pub steps: u64,
    /// The first step that trains the sub-networks.
    pub slow_start_step: u64,
    /// Factor on the learning rate from that step on.
    pub slim_rate_factor: f64,
    /// The key encoder's initial momentum.
    pub key_momentum: f64,
    /// Whether it rises to 1 along a cosine.
    pub key_momentum_rises: bool,
    /// Steps between evaluations; 0 for none before the run's end.
    pub evaluate_every: u64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// The learning rate, without `slim_rate_factor`.
    pub learning_rate: LrSchedule,
}

impl RunSchedule {
    /// Returns the fractional epoch at which `step` begins.
    pub fn epoch(&self, step: u64) -> f64 {
        step as f64 / self.steps_per_epoch as f64
    }

    /// Returns steps after the run's end, with at least `images` images or one epoch. The run has not seen their views.
    pub fn unseen(&self, images: usize, batch: usize) -> Range<u64> {
        let first = self.steps.next_multiple_of(self.steps_per_epoch);
        first..first + (images.div_ceil(batch) as u64).min(self.steps_per_epoch)
    }

    /// Returns whether the network is evaluated after `done` steps; 0 is the untrained one.
    pub fn evaluates(&self, done: u64) -> bool {
        // Shortly before the end, the evaluation at the end is enough.
        let is_due =
            |every: u64| done.is_multiple_of(every) && (done == 0 || self.steps.saturating_sub(done) > every / 2);
        done == self.steps || (self.evaluate_every > 0 && is_due(self.evaluate_every))
    }

    /// Returns the plan of `step`.
    pub fn plan(&self, step: u64) -> StepPlan {
        let (trains_subnetworks, epoch) = (step >= self.slow_start_step, self.epoch(step));
        let factor = if trains_subnetworks { self.slim_rate_factor } else { 1.0 };
        let key_momentum = if self.key_momentum_rises {
            cosine_momentum(self.key_momentum, epoch, self.epoch(self.steps))
        } else {
            self.key_momentum
        };
        StepPlan {
            trains_subnetworks,
            rate: self.learning_rate.rate(step, epoch) * factor,
            key_momentum,
            keeps_width_gradients: false,
        }
    }
}

/// What one step does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepPlan {
    /// Whether all widths are trained, or only the full network (slow start).
    pub trains_subnetworks: bool,
    /// The learning rate.
    pub rate: f64,
    /// The key encoder's momentum.
    pub key_momentum: f64,
    /// Whether the step returns each width's gradient, not only their sum.
    pub keeps_width_gradients: bool,
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn a_run_is_evaluated_before_training_at_intervals_and_at_its_end() {
        let evaluated = |evaluate_every| -> Vec<u64> {
            let config = Config { epochs: 2.5, evaluate_every, ..Config::cifar10() };
            let schedule = config.schedule(10 * config.batch).unwrap();
            (0..=25).filter(|done| schedule.evaluates(*done)).collect()
        };
        assert_eq!(evaluated(0.5), [0, 5, 10, 15, 20, 25]);
        // After 24 steps, the evaluation at the end is near enough.
        assert_eq!(evaluated(0.8), [0, 8, 16, 25]);
        assert_eq!(evaluated(100.0), [0, 25]);
        assert_eq!(evaluated(0.0), [25], "only at the end");
    }
}
