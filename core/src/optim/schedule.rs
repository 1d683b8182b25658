//! Learning-rate schedules: a linear warm-up, then a decay (spec section 2; the authors' `CosineAnnealing`,
//! `step`, `poly` and `HTD`).

use serde::{Deserialize, Serialize};

/// The learning rate at step 0 of a warm-up.
const WARM_UP_FROM: f64 = 1e-8;

/// How the rate falls once warm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Half a cosine, to zero
    Cosine,
    /// A tenth at each milestone
    Step,
    /// A polynomial of power 0.9, to zero
    Poly,
    /// Half a hyperbolic tangent, over -6 to 3
    Htd,
    /// None
    Constant,
}

/// A schedule over a whole run.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// How the rate falls once warm.
    pub decay: Decay,
    /// The highest rate.
    pub initial: f64,
    /// Steps of the run.
    pub total_steps: u64,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// Epochs at which [`Decay::Step`] takes a tenth.
    pub milestones: Vec<f64>,
}

impl Schedule {
    /// The learning rate at `step`, counted from 0, of `epoch`, which may be fractional.
    pub fn rate(&self, step: u64, epoch: f64) -> f64 {
        if step <= self.warmup_steps && self.warmup_steps > 0 {
            let warmth = step as f64 / self.warmup_steps as f64;
            return WARM_UP_FROM + (self.initial - WARM_UP_FROM) * warmth;
        }
        let decaying = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let progress = (step - self.warmup_steps) as f64 / decaying as f64;
        self.initial
            * match self.decay {
                Decay::Cosine => (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0,
                Decay::Step => 0.1_f64.powi(self.milestones.iter().filter(|at| epoch >= **at).count() as i32),
                Decay::Poly => (1.0 - progress).max(0.0).powf(0.9),
                Decay::Htd => (1.0 - (-6.0 + 9.0 * progress).tanh()) / 2.0,
                Decay::Constant => 1.0,
            }
    }
}

/// The momentum encoder's momentum at fractional `epoch` of `epochs`, rising from `initial` to 1 along a cosine
/// (spec section 3).
pub fn cosine_momentum(initial: f64, epoch: f64, epochs: f64) -> f64 {
    1.0 - (1.0 - initial) * (1.0 + (std::f64::consts::PI * epoch / epochs).cos()) / 2.0
}
