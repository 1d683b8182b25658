//! Evaluation of features (docs/method.md, "Evaluation").

pub mod features;
pub mod knn;
pub mod map;
pub mod probe;
pub mod rankme;
pub mod ridge;

use burn::tensor::{ExecutionError, Tensor};

/// An accuracy on test images, with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// Fraction of correct predictions.
    pub fraction: f64,
    /// Binomial standard error of the fraction.
    pub standard_error: f64,
}

impl Accuracy {
    /// Returns the accuracy of `right` correct predictions out of `total`.
    pub fn new(right: usize, total: usize) -> Self {
        let fraction = right as f64 / total as f64;
        Self { fraction, standard_error: (fraction * (1.0 - fraction) / total as f64).sqrt() }
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
    /// Computes the accuracy of `scores`, `[n, classes]`, for images of the classes `labels`; `None` if a score is NaN
    /// or infinite.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn of(scores: Tensor<2>, labels: &[u32]) -> Result<Option<Self>, ExecutionError> {
        let [_, classes] = scores.dims();
        let scores = scores.into_data_async().await?.convert::<f32>();
        let scores = scores.as_slice::<f32>().expect("the data was just converted to f32");
        if !scores.iter().all(|score| score.is_finite()) {
            return Ok(None);
        }
        let ranks: Vec<usize> =
            scores.chunks_exact(classes).zip(labels).map(|(row, label)| rank(row, *label as usize)).collect();
        let within = |top: usize| Accuracy::new(ranks.iter().filter(|rank| **rank < top).count(), ranks.len());
        Ok(Some(Self { top1: within(1), top5: within(5) }))
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
    use burn::tensor::Device;
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn accuracies_follow_the_rank_of_the_right_class() {
        let falling = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0];
        let scores = Tensor::<2>::from_data([falling, falling, falling, [1.0; 6]], &Device::flex());
        // First, fifth, last; a tie that the lower classes win.
        let accuracy = block_on(ProbeAccuracy::of(scores.clone(), &[0, 4, 5, 1])).unwrap();
        assert_eq!(accuracy, Some(ProbeAccuracy { top1: Accuracy::new(1, 4), top5: Accuracy::new(3, 4) }));
        // A class that the scores lack is not among five of three.
        let accuracy = block_on(ProbeAccuracy::of(scores.clone().slice([0..1, 0..3]), &[3])).unwrap();
        assert_eq!(accuracy.unwrap().top5, Accuracy::new(0, 1));
        // Weights that have diverged have no accuracy.
        let accuracy = block_on(ProbeAccuracy::of(scores.mul_scalar(f32::INFINITY), &[0, 4, 5, 1])).unwrap();
        assert_eq!(accuracy, None);
    }
}
