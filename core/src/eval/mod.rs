//! Evaluation of features (docs/method.md, "Evaluation").

pub mod features;
pub mod knn;
pub mod map;
pub mod probe;
pub mod rankme;
pub mod ridge;
pub mod views;

use burn::tensor::{ExecutionError, Tensor};

use self::features::{Features, chunks};

/// Images whose scores are computed at once: 16 MB for 1,000 classes.
const IMAGES_AT_ONCE: usize = 4096;

/// An accuracy on test images, with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// Fraction of correct predictions.
    pub fraction: f64,
    /// Standard error of the fraction.
    pub standard_error: f64,
}

impl Accuracy {
    /// Returns the accuracy of `right` correct predictions out of `total`. Its standard error is half the width of
    /// Wilson's interval (1927) at one standard deviation: the binomial one, except that it is not 0 if all or none of
    /// a few are right.
    pub fn new(right: usize, total: usize) -> Self {
        let (right, total) = (right as f64, total as f64);
        let fraction = right / total;
        let variance = fraction * (1.0 - fraction) / total + 0.25 / (total * total);
        Self { fraction, standard_error: variance.sqrt() / (1.0 + 1.0 / total) }
    }
}

/// The accuracy of one width's linear classifier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeAccuracy {
    /// The right class has the highest score.
    pub top1: Accuracy,
    /// The right class is among the five highest scores.
    pub top5: Accuracy,
}

impl ProbeAccuracy {
    /// Computes the accuracy on `test` of a classifier that maps features, `[n, f]`, to `scores`, `[n, classes]`; `None`
    /// if a score is NaN or infinite.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn of(
        test: &Features,
        mut scores: impl FnMut(Tensor<2>) -> Tensor<2>,
    ) -> Result<Option<Self>, ExecutionError> {
        let [mut top1, mut top5] = [0, 0];
        for images in chunks(test.labels.len(), IMAGES_AT_ONCE) {
            let scores = scores(test.values.rows(images.clone()));
            let [_, classes] = scores.dims();
            let scores = scores.into_data_async().await?.convert::<f32>();
            let scores = scores.as_slice::<f32>().expect("the data was just converted to f32");
            if !scores.iter().all(|score| score.is_finite()) {
                return Ok(None);
            }
            for (row, label) in scores.chunks_exact(classes).zip(&test.labels[images]) {
                let rank = rank(row, *label as usize);
                top1 += usize::from(rank < 1);
                top5 += usize::from(rank < 5);
            }
        }
        let [top1, top5] = [top1, top5].map(|right| Accuracy::new(right, test.labels.len()));
        Ok(Some(Self { top1, top5 }))
    }
}

/// Returns the number of classes ranked above `label`; of equal scores, the lower class ranks higher. A class that the
/// training images lack ranks last.
fn rank(scores: &[f32], label: usize) -> usize {
    match scores.get(label) {
        Some(own) => {
            let loses = |class: usize, score: f32| score < *own || (score == *own && class > label);
            scores.iter().enumerate().filter(|(class, score)| *class != label && !loses(*class, **score)).count()
        }
        None => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use burn::tensor::Device;
    use futures::executor::block_on;

    use super::*;

    /// Computes the accuracy of a classifier with these scores.
    fn accuracy(scores: Tensor<2>, labels: &[u32]) -> Option<ProbeAccuracy> {
        let test = Features { values: Rc::new(scores), labels: labels.to_vec(), indices: (0..labels.len()).collect() };
        block_on(ProbeAccuracy::of(&test, |scores| scores)).unwrap()
    }

    #[test]
    fn the_standard_error_is_binomial_except_where_that_is_zero() {
        let error = |right, total| Accuracy::new(right, total).standard_error;
        let binomial = (0.3_f64 * 0.7 / 1500.0).sqrt();
        assert!((error(450, 1500) / binomial - 1.0).abs() < 1e-3);
        // All or none of four: by Wilson's interval at z = 1, from 80 % or up to 20 %.
        for right in [0, 4] {
            assert!((error(right, 4) - 0.1).abs() < 1e-12);
        }
        assert!(error(1500, 1500) < 0.0005);
    }

    #[test]
    fn accuracies_follow_the_rank_of_the_right_class() {
        let falling = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0];
        let scores = Tensor::<2>::from_data([falling, falling, falling, [1.0; 6]], &Device::flex());
        // First, fifth, last; a tie that the lower classes win.
        let found = accuracy(scores.clone(), &[0, 4, 5, 1]);
        assert_eq!(found, Some(ProbeAccuracy { top1: Accuracy::new(1, 4), top5: Accuracy::new(3, 4) }));
        // A class that the scores lack is not among five of three.
        let found = accuracy(scores.clone().slice([0..1, 0..3]), &[3]);
        assert_eq!(found.unwrap().top5, Accuracy::new(0, 1));
        // Weights that have diverged have no accuracy.
        assert_eq!(accuracy(scores.mul_scalar(f32::INFINITY), &[0, 4, 5, 1]), None);
        // Images are scored a part at a time.
        let images = IMAGES_AT_ONCE + 3;
        let labels: Vec<u32> = (0..images as u32).map(|image| u32::from(image >= 4096)).collect();
        let found = accuracy(Tensor::from_data([falling], &Device::flex()).repeat_dim(0, images), &labels);
        assert_eq!(found.unwrap().top1, Accuracy::new(IMAGES_AT_ONCE, images));
    }
}
