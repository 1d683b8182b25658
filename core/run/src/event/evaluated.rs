//! The evaluation of one width: accuracies, which need labels, and measures that need none.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::probe::ProbeConfig;

/// One width's evaluation (docs/method.md, "Evaluation").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Steps taken before the evaluation; 0 is the untrained network.
    pub step: u64,
    /// The fractional epoch.
    pub epoch: f64,
    /// The width.
    pub width: f64,
    /// Fraction of the test images that a k-nearest-neighbour vote over the training images gets right, if they have
    /// an accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knn: Option<f64>,
    /// Standard error of `knn`. Older files have 0 where `knn` is 0 or 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knn_standard_error: Option<f64>,
    /// Fraction that has the class of the nearest training image, as CompRess reports it. Missing in evaluations during
    /// training and in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest: Option<f64>,
    /// Why there are no accuracies, if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_accuracy: Option<NoAccuracy>,
    /// What the accuracies were measured on. Missing in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_on: Option<MeasuredOn>,
    /// RankMe, the effective rank of the training images' features (Garrido et al. 2023). Missing in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rankme: Option<f64>,
    /// Measures of augmented views. Missing in older files, and if a measure is NaN.
    #[serde(flatten)]
    pub views: Option<ViewMeasures>,
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
    pub probe_recipe: Option<Box<ProbeConfig>>,
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

/// What accuracies were measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredOn {
    /// Test images that were classified.
    pub test_images: usize,
    /// Training images that voted, and that probes and ridge regression were fitted to.
    pub training_images: usize,
    /// Neighbours in the kNN vote.
    pub neighbours: usize,
}

/// Measures of the embeddings of two augmented views of each of some images. They need no labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ViewMeasures {
    /// Alignment (Wang & Isola 2020, alpha = 2): the mean squared distance between the two views of an image, 0 to 4.
    /// Lower is better.
    pub alignment: f64,
    /// Uniformity (Wang & Isola 2020, t = 2): the logarithm of the mean of exp(-2 d^2), with the distance d of views of
    /// different images. 0 if all are equal, about -4 if they are spread evenly. Lower is better.
    pub uniformity: f64,
    /// Mean cosine of the two views of an image.
    pub cosine_same_image: f64,
    /// Mean cosine of views of different images.
    pub cosine_different_images: f64,
    /// Spread (Chen & He 2021, figure 2): the mean, over the dimensions of the embeddings of unit length, of their standard
    /// deviation. 0 if all are equal, about 1 / sqrt(d) if they are spread evenly. Missing in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// SwAV's effective number of prototypes that the views are nearest to: the exponential of the entropy of their shares,
    /// 1 if all views belong to one. Missing in older files, and without prototypes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prototypes: Option<f64>,
}

/// Why accuracies cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoAccuracy {
    /// The images have no labels.
    NoLabels,
    /// All test images are of one class, so that every answer would be right.
    OneTestClass,
    /// All training images are of one class, so that there is only one answer.
    OneTrainingClass,
}

impl NoAccuracy {
    /// Returns why `test` cannot be classified by `train`, the labels of the images used, or `None` if it can. `has_labels`
    /// says whether the labels are real.
    pub fn of(has_labels: bool, train: &[u32], test: &[u32]) -> Option<Self> {
        let is_one_class = |labels: &[u32]| labels.iter().all(|label| *label == labels[0]);
        match has_labels {
            false => Some(Self::NoLabels),
            true if is_one_class(test) => Some(Self::OneTestClass),
            true if is_one_class(train) => Some(Self::OneTrainingClass),
            true => None,
        }
    }
}

impl fmt::Display for NoAccuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLabels => "the images have no labels",
            Self::OneTestClass => "all test images are of one class",
            Self::OneTrainingClass => "all training images are of one class",
        })
    }
}

/// A width has learned if views of one image have become this much more similar than views of different images.
const LEAST_GAIN: f64 = 0.05;

impl ViewMeasures {
    /// Returns by how much views of one image are more similar than views of different images: the difference of the
    /// mean cosines.
    pub fn gap(&self) -> f64 {
        self.cosine_same_image - self.cosine_different_images
    }
}

impl Evaluated {
    /// Returns whether probes were fitted, successfully or not.
    pub fn was_probed(&self) -> bool {
        self.probe.is_some() || self.probe_recipe.is_some()
    }

    /// Returns kNN accuracy and its standard error, if it was measured.
    pub fn knn_with_error(&self) -> Option<[f64; 2]> {
        Some([self.knn?, self.knn_standard_error?])
    }

    /// Returns the accuracy of the network's own classifier and its binomial standard error, if it was measured.
    fn classifier_with_error(&self) -> Option<[f64; 2]> {
        let (accuracy, images) = (self.classifier?, self.measured_on?.test_images as f64);
        Some([accuracy, (accuracy * (1.0 - accuracy) / images).sqrt()])
    }

    /// Returns whether this width is better than `before` training: the network's own classifier or else kNN is more
    /// accurate by more than two standard errors of the difference or, without labels, the [gap](ViewMeasures::gap)
    /// between the cosines has grown by more than 0.05. Returns `None` if nothing of this was measured.
    pub fn has_learned(&self, before: &Self) -> Option<bool> {
        for accuracy in [Self::classifier_with_error, Self::knn_with_error] {
            if let (Some([before, error_before]), Some([after, error_after])) = (accuracy(before), accuracy(self)) {
                return Some(after - before > 2.0 * error_after.hypot(error_before));
            }
        }
        let (before, after) = (before.views?, self.views?);
        Some(after.gap() - before.gap() > LEAST_GAIN)
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
    use crate::event::Event;

    const VIEWS: ViewMeasures = ViewMeasures {
        alignment: 0.5,
        uniformity: -2.5,
        cosine_same_image: 0.75,
        cosine_different_images: 0.25,
        spread: Some(0.125),
        prototypes: None,
    };

    #[test]
    fn evaluations_in_older_files_can_be_read() {
        let line = r#"{"event":"evaluated","step":9,"epoch":1.5,"width":0.5,"knn":0.25,"knn_standard_error":0.01,
                       "probe":0.5,"probe_top5":0.75}"#;
        let evaluated = Evaluated { step: 9, epoch: 1.5, width: 0.5, knn: Some(0.25), ..Evaluated::default() };
        let expected =
            Evaluated { knn_standard_error: Some(0.01), probe: Some(0.5), probe_top5: Some(0.75), ..evaluated };
        assert_eq!(serde_json::from_str::<Event>(line).unwrap(), Event::Evaluated(expected));
    }

    #[test]
    fn what_was_not_measured_is_absent_and_the_reason_present() {
        let unlabelled = Evaluated { no_accuracy: Some(NoAccuracy::NoLabels), ..Evaluated::default() };
        for (evaluated, rest) in [
            (
                Evaluated { views: Some(VIEWS), ..unlabelled.clone() },
                r#","alignment":0.5,"uniformity":-2.5,"cosine_same_image":0.75,"cosine_different_images":0.25,"spread":0.125"#,
            ),
            (
                Evaluated { views: Some(ViewMeasures { spread: None, ..VIEWS }), ..unlabelled.clone() },
                r#","alignment":0.5,"uniformity":-2.5,"cosine_same_image":0.75,"cosine_different_images":0.25"#,
            ),
            (unlabelled, ""),
        ] {
            let line =
                format!(r#"{{"event":"evaluated","step":0,"epoch":0.0,"width":0.0,"no_accuracy":"no_labels"{rest}}}"#);
            let event = Event::Evaluated(evaluated);
            assert_eq!(serde_json::to_string(&event).unwrap(), line);
            assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
        }
        // A diverged network.
        let nan = r#"{"event":"evaluated","step":0,"epoch":0.0,"width":0.0,"alignment":null,"uniformity":null,
                      "cosine_same_image":null,"cosine_different_images":null}"#;
        assert_eq!(serde_json::from_str::<Event>(nan).unwrap(), Event::Evaluated(Evaluated::default()));
    }

    #[test]
    fn accuracies_need_two_classes_on_both_sides() {
        let of = |train: &[u32], test: &[u32]| NoAccuracy::of(true, train, test);
        assert_eq!(of(&[0, 1], &[1, 0]), None);
        assert_eq!(of(&[0, 1], &[1, 2]), None);
        assert_eq!(of(&[0, 1], &[1, 1]), Some(NoAccuracy::OneTestClass));
        assert_eq!(of(&[0, 1], &[0]), Some(NoAccuracy::OneTestClass));
        assert_eq!(of(&[0, 0], &[0, 1]), Some(NoAccuracy::OneTrainingClass));
        assert_eq!(of(&[0, 1], &[]), Some(NoAccuracy::OneTestClass));
        assert_eq!(NoAccuracy::of(false, &[0, 1], &[0, 1]), Some(NoAccuracy::NoLabels));
    }

    #[test]
    fn learning_shows_in_knn_or_else_in_the_cosines() {
        let knn = |knn| Evaluated { knn: Some(knn), knn_standard_error: Some(0.01), ..Evaluated::default() };
        assert_eq!(knn(0.33).has_learned(&knn(0.30)), Some(true));
        assert_eq!(knn(0.32).has_learned(&knn(0.30)), Some(false));
        let views = |cosine_same_image| Evaluated {
            views: Some(ViewMeasures { cosine_same_image, ..VIEWS }),
            ..Evaluated::default()
        };
        assert_eq!(views(0.75).has_learned(&views(0.3)), Some(true));
        assert_eq!(views(0.33).has_learned(&views(0.3)), Some(false));
        assert_eq!(views(0.75).has_learned(&knn(0.3)), None);
        // Fine-tuning may leave kNN as it is, and train the classifier.
        let measured_on = Some(MeasuredOn { test_images: 400, training_images: 400, neighbours: 5 });
        let classifier = |classifier| Evaluated { classifier: Some(classifier), measured_on, ..knn(0.3) };
        assert_eq!(classifier(0.6).has_learned(&classifier(0.5)), Some(true));
        assert_eq!(classifier(0.56).has_learned(&classifier(0.5)), Some(false));
    }
}
