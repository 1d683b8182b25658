//! A part of the training images, for evaluations during training.

use slimclr_run::config::Config;

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
    fn all_images_stay_in_order() {
        for knn_images in [0, 5, 6, 50_000] {
            let config = Config { knn_images, ..Config::mini() };
            assert_eq!(knn_bank(&config, [0, 1, 0, 1, 0].into_iter()), [0, 1, 2, 3, 4]);
        }
        assert!(balanced([0; 0].into_iter(), 5, 0).is_empty());
    }
}
