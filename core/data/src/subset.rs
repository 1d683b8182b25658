//! Parts of the training images: for evaluations during training, and for training on few labels.

use slimclr_run::config::Config;
use thiserror::Error;

use crate::augment::epoch_order;

/// Returns the indices, ascending, of the training images that evaluations during training vote with, given the label of
/// each training image.
pub fn knn_bank(config: &Config, labels: impl ExactSizeIterator<Item = u32>) -> Vec<usize> {
    let count = if config.knn_images == 0 { usize::MAX } else { config.knn_images };
    balanced(labels, count, config.seed)
}

/// Returns the indices, ascending, of at most `count` of the images with these labels: random ones of each class, and as
/// many of each class as of any other that has them. They are always the same for a `seed`.
fn balanced(labels: impl ExactSizeIterator<Item = u32>, count: usize, seed: u64) -> Vec<usize> {
    let labels: Vec<u32> = labels.collect();
    if count >= labels.len() {
        return (0..labels.len()).collect();
    }
    let classes = labels.iter().max().map_or(0, |highest| *highest as usize + 1);
    let mut class_sizes = vec![0_usize; classes];
    // The first of each class in a random order, then the second of each, and so on.
    let ranked = epoch_order(seed, 0, labels.len()).into_iter().enumerate().map(|(place, index)| {
        let rank_in_class = &mut class_sizes[labels[index as usize] as usize];
        *rank_in_class += 1;
        (*rank_in_class, place, index as usize)
    });
    let mut ranked: Vec<(usize, usize, usize)> = ranked.collect();
    ranked.sort_unstable();
    let mut chosen: Vec<usize> = ranked.into_iter().take(count).map(|(_, _, index)| index).collect();
    chosen.sort_unstable();
    chosen
}

/// A fraction of the images leaves a class without one.
#[derive(Debug, Clone, PartialEq, Error)]
#[error(
    "a fraction of {fraction} leaves class '{class}', which has {images} training images, without one: choose {least} or \
     more"
)]
pub struct FractionError {
    fraction: f64,
    class: String,
    images: usize,
    least: f64,
}

/// Returns the indices, ascending, of this fraction of the images with these labels, rounded for each of the `classes`:
/// random ones, but always the same, whatever the run's seed. Images without classes are all of one.
///
/// # Errors
/// If a class that has images would have none.
pub fn fraction_of_each_class(
    labels: impl ExactSizeIterator<Item = u32>,
    classes: &[String],
    fraction: f64,
) -> Result<Vec<usize>, FractionError> {
    let labels: Vec<u32> = labels.collect();
    let mut left = vec![0_usize; classes.len().max(1)];
    labels.iter().for_each(|label| left[*label as usize] += 1);
    for (class, left) in left.iter_mut().enumerate().filter(|(_, images)| **images > 0) {
        let (images, class) = (*left, classes.get(class).cloned().unwrap_or_default());
        *left = (fraction * images as f64).round() as usize;
        if *left == 0 {
            // Rounded up, to three digits.
            let least = (1000.0 / images as f64).ceil() / 1000.0;
            return Err(FractionError { fraction, class, images, least });
        }
    }
    let mut chosen = Vec::new();
    for index in epoch_order(0, 0, labels.len()) {
        let left = &mut left[labels[index as usize] as usize];
        if *left > 0 {
            *left -= 1;
            chosen.push(index as usize);
        }
    }
    chosen.sort_unstable();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of the `chosen` images each class has.
    fn class_sizes(labels: &[u32], chosen: &[usize]) -> Vec<usize> {
        let of_class = |class| chosen.iter().filter(|index| labels[**index] == class).count();
        (0..=*labels.iter().max().unwrap()).map(of_class).collect()
    }

    #[test]
    fn classes_are_alike_as_far_as_they_have_images() {
        // 60 images of class 0, 30 of class 1, 3 of class 2.
        let labels: Vec<u32> = [vec![0; 60], vec![1; 30], vec![2; 3]].concat();
        let chosen = |count, seed| balanced(labels.iter().copied(), count, seed);
        assert_eq!(class_sizes(&labels, &chosen(43, 7)), [20, 20, 3]);
        assert_eq!(class_sizes(&labels, &chosen(3, 7)), [1, 1, 1]);
        assert_eq!(class_sizes(&labels, &chosen(83, 7)), [50, 30, 3]);
        assert!(chosen(43, 7).is_sorted());
        assert_eq!(chosen(43, 7), chosen(43, 7));
        assert_ne!(chosen(43, 7), chosen(43, 8), "another seed");
    }

    #[test]
    fn a_fraction_keeps_every_class() {
        let labels: Vec<u32> = [vec![0; 60], vec![2; 25], vec![1; 4]].concat();
        let classes = ["cat", "dog", "owl"].map(String::from);
        let chosen = |fraction| fraction_of_each_class(labels.iter().copied(), &classes, fraction);
        let tenth = chosen(0.2).unwrap();
        assert_eq!(class_sizes(&labels, &tenth), [12, 1, 5]);
        assert!(tenth.is_sorted() && tenth == chosen(0.2).unwrap());
        assert_eq!(chosen(1.0).unwrap(), (0..89).collect::<Vec<_>>());
        let sentence = "a fraction of 0.1 leaves class 'dog', which has 4 training images, without one: choose 0.25 \
                        or more";
        assert_eq!(chosen(0.1).unwrap_err().to_string(), sentence);
        assert_eq!(fraction_of_each_class([0; 10].into_iter(), &[], 0.3).unwrap().len(), 3);
    }

    #[test]
    fn all_images_stay_in_order() {
        for knn_images in [0, 5, 6, 50_000] {
            let config = Config { knn_images, ..Config::mini() };
            assert_eq!(knn_bank(&config, [0, 1, 0, 1, 0].into_iter()), [0, 1, 2, 3, 4]);
        }
        assert!(balanced([0; 0].into_iter(), 5, 0).is_empty());
    }
}
