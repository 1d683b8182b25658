//! Events that a run reports. The command line shows them and writes them as JSON lines; the page shows them live or
//! replays the lines.

mod collapse;
mod evaluated;

use serde::{Deserialize, Serialize};

use slimclr_network::profile::Profile;

use crate::{
    config::Config,
    interference::{
        agreement::{Agreement, StageAgreement},
        direction::LastLayers,
        magnitude::GradientNorms,
    },
    normalisation::Normalisation,
};

pub use self::{
    collapse::Collapse,
    evaluated::{Evaluated, MeasuredOn, NoAccuracy, ViewMeasures},
};

/// One line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "evaluations are few, and are passed on one by one")]
pub enum Event {
    /// The run starts, or resumes from a checkpoint.
    Started(Box<Started>),
    /// A training step was taken.
    Step(Step),
    /// The interference of the widths' gradients in the latest step.
    Interference(Interference),
    /// An evaluation is under way. It is shown, but not written to `events.jsonl`.
    Evaluating(Evaluating),
    /// One width was evaluated.
    Evaluated(Evaluated),
    /// The run has collapsed. It is reported once, by the first sign.
    Collapsed {
        /// Steps taken so far.
        step: u64,
        /// The sign.
        #[serde(flatten)]
        sign: Collapse,
    },
    /// The run continues with other options.
    Changed {
        /// Steps taken so far.
        step: u64,
        /// The options from now on.
        config: Box<Config>,
    },
    /// A checkpoint was saved.
    Checkpoint {
        /// Steps taken so far.
        step: u64,
    },
    /// The run was stopped before its end, and a checkpoint was saved.
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
    /// Returns the latest [`Started`] event: the run's start, or its last resumption.
    pub fn latest_start(events: &[Event]) -> Option<&Started> {
        events.iter().rev().find_map(|event| if let Self::Started(started) = event { Some(&**started) } else { None })
    }

    /// Returns whether it belongs in `events.jsonl`.
    pub fn is_logged(&self) -> bool {
        !matches!(self, Self::Evaluating(_))
    }

    /// Returns the steps taken when it happened.
    pub fn step(&self) -> u64 {
        match self {
            Self::Started(started) => started.step,
            Self::Step(Step { step, .. })
            | Self::Interference(Interference { step, .. })
            | Self::Evaluating(Evaluating { step, .. })
            | Self::Evaluated(Evaluated { step, .. })
            | Self::Collapsed { step, .. }
            | Self::Changed { step, .. }
            | Self::Checkpoint { step }
            | Self::Stopped { step }
            | Self::Finished { step, .. } => *step,
        }
    }
}

/// Facts about a run, reported when it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The run's options.
    pub config: Config,
    /// The device in use, as text.
    pub device: String,
    /// Training images.
    pub images: usize,
    /// Normalisation of their channels; missing in older files.
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
    /// The step after which the queue has no random keys left, if the method has a queue ([`Config::queue_filled_step`]).
    /// Missing in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_filled_step: Option<u64>,
    /// Processes that train the run together, each with an equal part of every batch. Missing if there is one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub ranks: usize,
    /// Costs of each width, head included.
    pub profile: Vec<Profile>,
}

fn one() -> usize {
    1
}

fn is_one(ranks: &usize) -> bool {
    *ranks == 1
}

/// A training step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Steps taken, this one included.
    pub step: u64,
    /// The fractional epoch at which it was taken.
    pub epoch: f64,
    /// Sum of `losses`.
    pub loss: f64,
    /// Each width's weighted loss; 0 for sub-networks before the slow start ends.
    pub losses: Vec<f64>,
    /// What each width's loss consists of. Empty in older files, and if the method reports nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monitors: Vec<LossMonitor>,
    /// The learning rate.
    pub learning_rate: f64,
    /// Training images per second since the last report.
    pub images_per_second: f64,
    /// Fraction of the time since the last report that was spent waiting for images. Missing in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<f64>,
    /// The same of what was spent in communication between ranks, most of it waiting for the slowest. Missing if there is
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub communication: Option<f64>,
}

/// What a width's loss consists of, without any weight; what its method does not have is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossMonitor {
    /// Mean cross-entropy, in nats, of choosing the positive among the keys (InfoNCE, the contrastive loss), or, with
    /// labels, the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_entropy: Option<f32>,
    /// Fraction of the views whose positive is more similar than all negatives, or whose class has the highest score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1: Option<f32>,
    /// Fraction of the views whose positive, or class, ranks among the first five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<f32>,
    /// How far the distillation from the wider networks is above its minimum: of cross-entropies the divergence, which
    /// is without the teacher's entropy. 0 if the width does what they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<f32>,
    /// The same of the method's separate teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher_divergence: Option<f32>,
    /// Mean cosine of predictions and what they predict (BYOL, SimDis).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f32>,
}

impl LossMonitor {
    /// Returns chance level: what a network reports that guesses among this many [candidates](Config::candidates).
    pub fn of_guess(candidates: usize) -> Self {
        let candidates = candidates as f32;
        Self {
            cross_entropy: Some(candidates.ln()),
            top1: Some(1.0 / candidates),
            top5: Some((5.0 / candidates).min(1.0)),
            ..Self::default()
        }
    }

    /// Returns the mean of each quantity over those of `monitors` that have it.
    pub fn mean<'a>(monitors: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let of = |quantity: fn(&Self) -> Option<f32>| {
            let values = monitors.clone().filter_map(quantity);
            let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + f64::from(value), count + 1));
            (count > 0).then(|| (sum / f64::from(count)) as f32)
        };
        Self {
            cross_entropy: of(|it| it.cross_entropy),
            top1: of(|it| it.top1),
            top5: of(|it| it.top5),
            divergence: of(|it| it.divergence),
            teacher_divergence: of(|it| it.teacher_divergence),
            cosine: of(|it| it.cosine),
        }
    }
}

/// Progress of an evaluation during training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluating {
    /// Steps taken so far.
    pub step: u64,
    /// Images evaluated so far, training and test images together.
    pub images: usize,
    /// Images to evaluate.
    pub of: usize,
}

/// Interference of the widths' gradients in one step (docs/method.md, "Interference measures"). Older files have the
/// norms only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Interference {
    /// Steps taken, this one included.
    pub step: u64,
    /// The fractional epoch.
    pub epoch: f64,
    /// Magnitudes (paper figure 3).
    #[serde(flatten)]
    pub gradient: GradientNorms,
    /// Directions of the last layers' gradients (paper figure 4).
    #[serde(flatten)]
    pub last_layers: LastLayers,
    /// Agreement over all weights that the widths share.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// Agreement by stage.
    #[serde(default)]
    pub stages: Vec<StageAgreement>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_say_what_their_losses_consist_of_unless_they_are_older() {
        let line = |monitors: &str| {
            format!(
                r#"{{"event":"step","step":3,"epoch":0.5,"loss":24.5,"losses":[4.5,20.0]{monitors},"learning_rate":0.06,"images_per_second":80.0}}"#
            )
        };
        let older = Step {
            step: 3,
            epoch: 0.5,
            loss: 24.5,
            losses: vec![4.5, 20.0],
            learning_rate: 0.06,
            images_per_second: 80.0,
            ..Step::default()
        };
        let full =
            LossMonitor { cross_entropy: Some(4.5), top1: Some(0.25), top5: Some(0.5), ..LossMonitor::default() };
        let monitors = vec![full, LossMonitor { divergence: Some(0.1), ..LossMonitor::default() }];
        let json = r#","monitors":[{"cross_entropy":4.5,"top1":0.25,"top5":0.5},{"divergence":0.1}]"#;
        for (json, step) in [("", older.clone()), (json, Step { monitors, ..older })] {
            let event = Event::Step(step);
            assert_eq!(serde_json::to_string(&event).unwrap(), line(json));
            assert_eq!(serde_json::from_str::<Event>(&line(json)).unwrap(), event);
        }
    }

    #[test]
    fn a_mean_is_of_the_monitors_that_have_the_quantity() {
        let of = |cross_entropy, top1| LossMonitor { cross_entropy, top1, ..LossMonitor::default() };
        let monitors = [of(Some(5.0), None), of(Some(6.0), Some(0.25)), LossMonitor::default()];
        assert_eq!(LossMonitor::mean(monitors.iter()), of(Some(5.5), Some(0.25)));
        assert_eq!(LossMonitor::mean([].iter()), LossMonitor::default());
    }

    #[test]
    fn a_collapse_names_its_sign() {
        let sign = Collapse::Loss { loss: 5.0, guess: 5.25, candidates: 190 };
        let event = Event::Collapsed { step: 9, sign };
        let line = r#"{"event":"collapsed","step":9,"sign":"loss","loss":5.0,"guess":5.25,"candidates":190}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
        assert_eq!(serde_json::from_str::<Event>(line).unwrap(), event);
    }

    #[test]
    fn interference_in_older_files_can_be_read() {
        let gradient = GradientNorms { norms: vec![2.0, 1.0], rest: 1.5 };
        let norms = Interference { step: 9, epoch: 1.5, gradient, ..Interference::default() };
        let agreement = Agreement { cosines: vec![vec![Some(1.0)]], conflicts: vec![vec![Some(0.0)]] };
        let stem = StageAgreement { stage: "stem".into(), agreement, norms: Vec::new() };
        let stages = r#","stages":[{"stage":"stem","cosines":[[1.0]],"conflicts":[[0.0]]}]"#;
        for (stages, expected) in [("", norms.clone()), (stages, Interference { stages: vec![stem], ..norms })] {
            let line =
                format!(r#"{{"event":"interference","step":9,"epoch":1.5,"norms":[2.0,1.0],"rest":1.5{stages}}}"#);
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), Event::Interference(expected));
        }
    }
}
