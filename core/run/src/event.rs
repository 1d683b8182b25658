//! Events that a run reports. The command line shows them and writes them as JSON lines; the page shows them live or
//! replays the lines.

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
    probe::ProbeConfig,
};

/// One line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run starts, or resumes from a checkpoint.
    Started(Box<Started>),
    /// A training step was taken.
    Step(Step),
    /// The interference of the widths' gradients in the latest step.
    Interference(Interference),
    /// One width was evaluated.
    Evaluated(Evaluated),
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

    /// Returns the steps taken when it happened.
    pub fn step(&self) -> u64 {
        match self {
            Self::Started(started) => started.step,
            Self::Step(Step { step, .. })
            | Self::Interference(Interference { step, .. })
            | Self::Evaluated(Evaluated { step, .. })
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
    /// Costs of each width, head included.
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

/// One width's accuracies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// RankMe, the effective rank of the training images' features (Garrido et al. 2023). Missing in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rankme: Option<f64>,
    /// Fraction that the switchable linear probe gets right, if one was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<f64>,
    /// Fraction whose class is among the probe's first five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_top5: Option<f64>,
    /// Fraction that the slimmable linear probe gets right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_slimmable: Option<f64>,
    /// Fraction whose class is among the slimmable probe's first five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_slimmable_top5: Option<f64>,
    /// Fraction that the ridge-regression probe gets right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ridge: Option<f64>,
    /// Fraction whose class is among the ridge-regression probe's first five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ridge_top5: Option<f64>,
    /// How the linear probes were trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_recipe: Option<ProbeConfig>,
    /// Ridge of the ridge-regression probe, relative to the features' mean variance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ridge_lambda: Option<f64>,
    /// Fraction that the network's own classifier gets right, in supervised training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<f64>,
    /// Fraction whose class is among its first five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier_top5: Option<f64>,
}

impl Evaluated {
    /// Returns whether probes were fitted, successfully or not.
    pub fn was_probed(&self) -> bool {
        self.probe.is_some() || self.probe_recipe.is_some()
    }

    /// Returns whether this width's kNN is above that of the `untrained` network by more than two standard errors of
    /// the difference.
    pub fn has_learned(&self, untrained: &Self) -> bool {
        self.knn - untrained.knn > 2.0 * self.knn_standard_error.hypot(untrained.knn_standard_error)
    }

    /// Returns top-1 and top-5 of the network's own classifier, in supervised training.
    pub fn own_classifier(&self) -> Option<[f64; 2]> {
        Some([self.classifier?, self.classifier_top5?])
    }

    /// Returns top-1 and top-5 of the switchable, the slimmable and the ridge-regression probe, if fitted.
    pub fn probes(&self) -> [Option<[f64; 2]>; 3] {
        [
            [self.probe, self.probe_top5],
            [self.probe_slimmable, self.probe_slimmable_top5],
            [self.ridge, self.ridge_top5],
        ]
        .map(|[top1, top5]| Some([top1?, top5?]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_in_older_files_can_be_read() {
        let line = r#"{"event":"evaluated","step":9,"epoch":1.5,"width":0.5,"knn":0.25,"knn_standard_error":0.01,
                       "probe":0.5,"probe_top5":0.75}"#;
        let evaluated = Evaluated { step: 9, epoch: 1.5, width: 0.5, knn: 0.25, ..Evaluated::default() };
        let expected = Evaluated { knn_standard_error: 0.01, probe: Some(0.5), probe_top5: Some(0.75), ..evaluated };
        assert_eq!(serde_json::from_str::<Event>(line).unwrap(), Event::Evaluated(expected));
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
