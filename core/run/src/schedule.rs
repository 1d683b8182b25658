//! The schedule of a run: its steps, what each of them trains, and its learning rate.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Decay of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Half a cosine, to the final rate
    Cosine,
    /// Half a cosine that begins at the run's start, not after the warm-up; one rate per epoch (SEED, DisCo, BINGO)
    EpochCosine,
    /// Half a cosine, after a warm-up that reaches the peak one step earlier (SwAV)
    Swav,
    /// Multiply by a factor at each milestone
    Step,
    /// A polynomial of power 0.9, to the final rate
    Poly,
    /// Half a hyperbolic tangent (HTD) from -6 to 3
    Htd,
    /// No decay
    Constant,
}

/// The learning rate of a run: linear warm-up, then decay (the authors' `CosineAnnealing`, `step`, `poly`, `HTD`, and
/// the schedules of the two-stage methods).
#[derive(Debug, Clone, PartialEq)]
pub struct LrSchedule {
    /// Decay of the learning rate after the warm-up.
    pub decay: Decay,
    /// The learning rate that the warm-up ends at.
    pub peak: f64,
    /// The learning rate at step 0 of the warm-up.
    pub warmup_start: f64,
    /// The learning rate that the decay tends to.
    pub final_rate: f64,
    /// Steps of the run.
    pub total_steps: u64,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// Steps of an epoch, at least 1.
    pub steps_per_epoch: u64,
    /// Epochs at which [`Decay::Step`] multiplies the rate by `milestone_factor`.
    pub milestones: Vec<f64>,
    /// Factor of the rate at each milestone.
    pub milestone_factor: f64,
}

impl LrSchedule {
    /// Returns the learning rate at `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        let warmup = self.warmup_steps;
        match self.decay {
            Decay::EpochCosine => {
                let epoch_start = step - step % self.steps_per_epoch;
                if epoch_start < warmup {
                    self.warming_up(epoch_start, warmup)
                } else {
                    self.decayed(half_cosine(epoch_start as f64 / self.total_steps as f64))
                }
            }
            Decay::Swav if step < warmup => self.warming_up(step, (warmup - 1).max(1)),
            _ if step <= warmup && warmup > 0 => self.warming_up(step, warmup),
            _ => {
                let decaying = self.total_steps.saturating_sub(warmup).max(1);
                self.decayed(self.factor(step, (step - warmup) as f64 / decaying as f64))
            }
        }
    }

    /// Returns the rate at `step` of a warm-up that ends at the step `last`.
    fn warming_up(&self, step: u64, last: u64) -> f64 {
        self.warmup_start + (self.peak - self.warmup_start) * (step as f64 / last as f64)
    }

    /// Returns the rate at this fraction of the way from the final rate to the peak.
    fn decayed(&self, share: f64) -> f64 {
        self.final_rate + (self.peak - self.final_rate) * share
    }

    /// Returns the factor of the decay at `step`, after this fraction of the steps that follow the warm-up.
    fn factor(&self, step: u64, progress: f64) -> f64 {
        match self.decay {
            Decay::Cosine | Decay::EpochCosine | Decay::Swav => half_cosine(progress),
            Decay::Step => {
                let epoch = step as f64 / self.steps_per_epoch as f64;
                self.milestone_factor.powi(self.milestones.iter().filter(|at| epoch >= **at).count() as i32)
            }
            Decay::Poly => (1.0 - progress).max(0.0).powf(0.9),
            Decay::Htd => (1.0 - (-6.0 + 9.0 * progress).tanh()) / 2.0,
            Decay::Constant => 1.0,
        }
    }
}

/// Returns half a cosine from 1 to 0.
fn half_cosine(progress: f64) -> f64 {
    (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0
}

/// Returns the momentum encoder's momentum at fractional `epoch` of `epochs`, rising from `initial` to 1 along a cosine
/// (MoCo v3, BYOL, SimDis).
pub fn cosine_momentum(initial: f64, epoch: f64, epochs: f64) -> f64 {
    1.0 - (1.0 - initial) * half_cosine(epoch / epochs)
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

    /// Returns the number of evaluations in the run, that of the untrained network among them.
    pub fn evaluations(&self) -> u64 {
        match self.evaluate_every {
            0 => 1,
            // Besides the first and the last.
            every => 2 + self.steps.saturating_sub(every / 2 + 1) / every,
        }
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
            rate: self.learning_rate.rate(step) * factor,
            key_momentum,
            epoch,
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
    /// The fractional epoch at which the step begins.
    pub epoch: f64,
    /// Whether the step returns each width's gradient, not only their sum.
    pub keeps_width_gradients: bool,
}

impl StepPlan {
    /// Returns the plan of a step that computes losses of all widths, but changes neither the query encoder nor the key
    /// encoder.
    pub const fn trial(epoch: f64) -> Self {
        Self { trains_subnetworks: true, rate: 0.0, key_momentum: 1.0, epoch, keeps_width_gradients: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Returns the rates of four epochs of two steps, the first epoch for warm-up from 0 to a peak of 8.
    fn rates(decay: Decay) -> Vec<f64> {
        let schedule = LrSchedule {
            decay,
            peak: 8.0,
            warmup_start: 0.0,
            final_rate: 2.0,
            total_steps: 8,
            warmup_steps: 2,
            steps_per_epoch: 2,
            milestones: vec![1.5, 3.0],
            milestone_factor: 0.5,
        };
        (0..8).map(|step| schedule.rate(step)).collect()
    }

    #[test]
    fn each_decay_begins_and_ends_where_it_should() {
        let rounded = |decay| rates(decay).into_iter().map(|rate| (1e3 * rate).round() / 1e3).collect::<Vec<_>>();
        assert_eq!(rounded(Decay::Cosine), [0.0, 4.0, 8.0, 7.598, 6.5, 5.0, 3.5, 2.402]);
        assert_eq!(rounded(Decay::Swav), [0.0, 8.0, 8.0, 7.598, 6.5, 5.0, 3.5, 2.402]);
        // One rate per epoch: the second is a quarter of the way along the cosine.
        assert_eq!(rounded(Decay::EpochCosine), [0.0, 0.0, 7.121, 7.121, 5.0, 5.0, 2.879, 2.879]);
        // From epoch 1.5 and from epoch 3, half of what lies above the final rate.
        assert_eq!(rounded(Decay::Step), [0.0, 4.0, 8.0, 5.0, 5.0, 5.0, 3.5, 3.5]);
    }

    #[test]
    fn a_run_is_evaluated_before_training_at_intervals_and_at_its_end() {
        let evaluated = |evaluate_every| -> Vec<u64> {
            let config = Config { epochs: 2.5, evaluate_every, ..Config::cifar10() };
            let schedule = config.schedule(10 * config.batch).unwrap();
            let evaluated: Vec<u64> = (0..=25).filter(|done| schedule.evaluates(*done)).collect();
            assert_eq!(schedule.evaluations(), evaluated.len() as u64);
            evaluated
        };
        assert_eq!(evaluated(0.5), [0, 5, 10, 15, 20, 25]);
        // After 24 steps, the evaluation at the end is near enough.
        assert_eq!(evaluated(0.8), [0, 8, 16, 25]);
        assert_eq!(evaluated(100.0), [0, 25]);
        assert_eq!(evaluated(0.0), [25], "only at the end");
    }
}
