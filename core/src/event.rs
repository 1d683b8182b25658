//! What a run reports while it goes on. The command line draws these events and writes them as JSON
//! lines; a page draws them live or replays the lines.

use serde::{Deserialize, Serialize};

use crate::{augment::Normalisation, config::Config, interference::magnitude::GradientNorms, profile::Profile};

/// One line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins, or goes on from a checkpoint.
    Started(Box<Started>),
    /// A training step was taken.
    Step(Step),
    /// Gradient norms of the latest step.
    Interference(Interference),
    /// One width was evaluated.
    Evaluated(Evaluated),
    /// The state of the run is ready to be saved.
    Checkpoint {
        /// Steps taken so far.
        step: u64,
    },
    /// The run was asked to stop before its end; its checkpoint stands.
    Stopped {
        /// Steps taken so far.
        step: u64,
    },
    /// The run reached its end.
    Finished {
        /// Steps taken.
        step: u64,
        /// Seconds since it began or was resumed.
        seconds: f64,
    },
}

impl Event {
    /// The latest beginning among `events`: the run's own, or its last resumption's.
    pub fn latest_start(events: &[Event]) -> Option<&Started> {
        events.iter().rev().find_map(|event| if let Self::Started(started) = event { Some(&**started) } else { None })
    }

    /// Steps taken when it happened.
    pub fn step(&self) -> u64 {
        match self {
            Self::Started(started) => started.step,
            Self::Step(Step { step, .. })
            | Self::Interference(Interference { step, .. })
            | Self::Evaluated(Evaluated { step, .. })
            | Self::Checkpoint { step }
            | Self::Stopped { step }
            | Self::Finished { step, .. } => *step,
        }
    }
}

/// What is known when a run begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The run's options.
    pub config: Config,
    /// The device in use, in words.
    pub device: String,
    /// Training images.
    pub images: usize,
    /// What their channels are normalised with; earlier programs did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<Normalisation>,
    /// Steps already taken: 0, or a checkpoint's.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of one epoch.
    pub steps_per_epoch: u64,
    /// The first step that trains the sub-networks (slow start).
    pub slow_start_step: u64,
    /// What each width costs, head included.
    pub profile: Vec<Profile>,
}

/// A training step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Steps taken, this one included.
    pub step: u64,
    /// The fractional epoch at which it was taken.
    pub epoch: f64,
    /// Sum of `losses`.
    pub loss: f64,
    /// Each width's weighted loss; 0 for sub-networks before the slow start ends.
    pub losses: Vec<f64>,
    /// The learning rate.
    pub learning_rate: f64,
    /// Training images per second since the last report.
    pub images_per_second: f64,
}

/// Gradient norms of one step (paper figure 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interference {
    /// Steps taken, this one included.
    pub step: u64,
    /// The fractional epoch.
    pub epoch: f64,
    /// The norms.
    #[serde(flatten)]
    pub gradient: GradientNorms,
}

/// One width's accuracies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Steps taken before the evaluation; 0 is the untrained network.
    pub step: u64,
    /// The fractional epoch.
    pub epoch: f64,
    /// The width.
    pub width: f64,
    /// Fraction of the test images that a k-nearest-neighbour vote over the training images gets right.
    pub knn: f64,
    /// Standard error of `knn`, binomial over the test images.
    pub knn_standard_error: f64,
    /// Fraction that the switchable linear probe gets right, where one was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<f64>,
    /// Fraction whose class is among the probe's first five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_top5: Option<f64>,
}
