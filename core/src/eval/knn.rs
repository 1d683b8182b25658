//! Weighted k-nearest-neighbour classification (Wu et al. 2018).

use std::cmp::Ordering;

use burn::tensor::{ExecutionError, Tensor};

use super::{Accuracy, features::Features};
use crate::kernel::threads::map;

/// Votes count `exp(similarity / TEMPERATURE)`.
const TEMPERATURE: f32 = 0.1;

/// Queries per transfer of similarities to the host: each takes 200 kB for a bank of 50,000 images.
const QUERIES_AT_ONCE: usize = 256;

/// A training image near a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Its index in the bank.
    pub image: usize,
    /// Cosine similarity of the features.
    pub similarity: f32,
}

/// Finds the `k` most similar images of `bank` to each row of `queries`, nearest first; both of unit length, `[m, f]`
/// and `[n, f]`.
///
/// # Errors
/// If the device fails.
pub async fn nearest(bank: Tensor<2>, queries: Tensor<2>, k: usize) -> Result<Vec<Vec<Neighbour>>, ExecutionError> {
    let [count, _] = queries.dims();
    let images = bank.dims()[0];
    let k = k.min(images);
    let bank = bank.transpose();
    let mut neighbours = Vec::with_capacity(count);
    for start in (0..count).step_by(QUERIES_AT_ONCE) {
        let chunk = queries.clone().narrow(0, start, QUERIES_AT_ONCE.min(count - start));
        let rows = chunk.dims()[0];
        let similarities = chunk.matmul(bank.clone()).into_data_async().await?.convert::<f32>();
        let similarities = similarities.as_slice::<f32>().expect("the data was just converted to f32");
        neighbours.extend(map(rows, |row| most_similar(&similarities[row * images..][..images], k)));
    }
    Ok(neighbours)
}

/// Returns the `k` nearest of the images with these similarities, nearest first.
fn most_similar(similarities: &[f32], k: usize) -> Vec<Neighbour> {
    /// Images that are skipped together if none is near enough.
    const RUN: usize = 64;
    let mut near = Vec::new();
    // Similarity of the nearest image seen beyond the `k` nearest; initially the lowest value by `total_cmp`.
    let mut too_far = f32::from_bits(u32::MAX);
    for (run, similarities) in similarities.chunks(RUN).enumerate() {
        if similarities.iter().fold(true, |all, similarity| all & (*similarity < too_far)) {
            continue;
        }
        let neighbours =
            (run * RUN..).zip(similarities).filter(|(_, similarity)| similarity.total_cmp(&too_far).is_ge());
        near.extend(neighbours.map(|(image, &similarity)| Neighbour { image, similarity }));
        if near.len() > 2 * k + RUN {
            let (_, next, _) = near.select_nth_unstable_by(k, nearer);
            too_far = next.similarity;
            near.truncate(k);
        }
    }
    near.sort_unstable_by(nearer);
    near.truncate(k);
    near
}

/// Orders by similarity, highest first. Ties go to the earlier image, so that runs are reproducible.
fn nearer(a: &Neighbour, b: &Neighbour) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then(a.image.cmp(&b.image))
}

/// Computes the accuracy of a vote of the `k` training images nearest to each test image.
///
/// # Errors
/// If the device fails.
pub async fn knn(bank: &Features, test: &Features, k: usize) -> Result<Accuracy, ExecutionError> {
    let neighbours = nearest(bank.normalized(), test.normalized(), k).await?;
    let classes = bank.classes();
    let right = neighbours
        .iter()
        .zip(&test.labels)
        .filter(|(neighbours, label)| vote(neighbours, &bank.labels, classes) == Some(**label))
        .count();
    Ok(Accuracy::new(right, test.labels.len()))
}

/// Returns the class with the greatest weight among the neighbours.
fn vote(neighbours: &[Neighbour], labels: &[u32], classes: usize) -> Option<u32> {
    let mut votes = vec![0.0_f32; classes];
    for neighbour in neighbours {
        votes[labels[neighbour.image] as usize] += (neighbour.similarity / TEMPERATURE).exp();
    }
    (0..classes as u32).max_by(|a, b| votes[*a as usize].total_cmp(&votes[*b as usize]).then(b.cmp(a)))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use futures::executor::block_on;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    fn features(values: [[f32; 2]; 4], labels: [u32; 4]) -> Features {
        let values = Tensor::from_data(values, &Device::flex());
        Features { values, labels: labels.to_vec(), indices: (0..4).collect() }
    }

    #[test]
    fn the_most_similar_are_those_of_a_full_sort() {
        let mut random = Pcg64Mcg::seed_from_u64(0);
        for (count, k) in [(0, 0), (1, 1), (1000, 0), (1000, 3), (5000, 200), (5000, 5000)] {
            // With ties, and a few NaN.
            let mut draw = |_| match random.random_range(0..100) {
                0 => f32::NAN,
                1 => -f32::NAN,
                _ => random.random_range(0..50) as f32,
            };
            let similarities: Vec<f32> = (0..count).map(&mut draw).collect();
            let all = similarities.iter().enumerate();
            let mut sorted: Vec<_> = all.map(|(image, &similarity)| Neighbour { image, similarity }).collect();
            sorted.sort_by(nearer);
            let images = |found: &[Neighbour]| found.iter().map(|near| near.image).collect::<Vec<_>>();
            assert_eq!(images(&most_similar(&similarities, k)), images(&sorted[..k]));
        }
    }

    #[test]
    fn the_nearest_vote() {
        let bank = features([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0], [-0.1, 1.0]], [0, 0, 1, 1]);
        let test = features([[5.0, 0.0], [0.0, 0.5], [1.0, 0.2], [1.0, 0.1]], [0, 1, 0, 1]);
        let nearest = block_on(nearest(bank.normalized(), test.normalized(), 2)).unwrap();
        let images: Vec<Vec<usize>> = nearest.iter().map(|row| row.iter().map(|near| near.image).collect()).collect();
        assert_eq!(images, [[0, 1], [2, 3], [1, 0], [1, 0]]);
        let accuracy = block_on(knn(&bank, &test, 3)).unwrap();
        assert_eq!(accuracy, Accuracy::new(3, 4));
    }
}
