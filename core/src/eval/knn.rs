//! Weighted k-nearest-neighbour classification (Wu et al. 2018).

mod on_device;

use std::cmp::Ordering;

use burn::tensor::ExecutionError;

use super::{
    Accuracy,
    features::{Features, Rows, chunks},
};
use crate::{
    cancellable::yield_now,
    kernel::{device::is_gpu, threads::for_each_chunk},
    loss::normalize,
};

/// Votes count `exp(similarity / TEMPERATURE)`.
const TEMPERATURE: f32 = 0.1;

/// Queries that one pass over the bank serves: their features and neighbours take 400 MB for 2,048 features and `k` of
/// 200. The bank may be read from a disk, so few passes matter.
const QUERIES_PER_PASS: usize = 16_384;

/// Images of the bank on the device at once: 64 MB for 2,048 features.
const BANK_AT_ONCE: usize = 8192;

/// Queries per transfer of similarities to the host: 8 MB.
const QUERIES_AT_ONCE: usize = 256;

/// Returns how often [`nearest`] reads the bank for this many queries.
pub fn passes(queries: usize) -> usize {
    queries.div_ceil(QUERIES_PER_PASS)
}

/// A training image near a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Its index in the bank.
    pub image: usize,
    /// Cosine similarity of the features.
    pub similarity: f32,
}

/// Finds the `k` most similar images of `bank`, `[m, f]`, to each of `queries`, `[n, f]`, nearest first.
///
/// # Errors
/// If the device fails.
pub async fn nearest(bank: &dyn Rows, queries: &dyn Rows, k: usize) -> Result<Vec<Vec<Neighbour>>, ExecutionError> {
    let ([images, _], [count, _]) = (bank.dims(), queries.dims());
    let k = k.min(images);
    let mut found = Vec::with_capacity(count);
    for pass in chunks(count, QUERIES_PER_PASS) {
        let mut nearest = vec![Nearest::new(k); pass.len()];
        let queries = normalize(queries.rows(pass));
        for part in chunks(images, BANK_AT_ONCE) {
            let part_of_bank = normalize(bank.rows(part.clone())).transpose();
            for rows in chunks(nearest.len(), QUERIES_AT_ONCE) {
                let similarities = queries.clone().slice([rows.clone()]).matmul(part_of_bank.clone());
                let similarities = similarities.into_data_async().await?.convert::<f32>();
                let similarities = similarities.as_slice::<f32>().expect("the data was just converted to f32");
                for_each_chunk(
                    &mut nearest[rows],
                    1,
                    || (),
                    |_, row, nearest| {
                        let similarities = &similarities[row * part.len()..][..part.len()];
                        nearest.iter_mut().for_each(|nearest| nearest.add(part.start, similarities));
                    },
                );
                yield_now().await;
            }
        }
        found.extend(nearest.into_iter().map(Nearest::finish));
    }
    Ok(found)
}

/// Finds the same images, as `[n, k]` indices row by row. On a GPU, a few of them are found there, so that only their
/// indices leave it: all similarities of ImageNet's training images would be 6.5 TB.
///
/// # Errors
/// If the device fails.
pub async fn nearest_images(bank: &dyn Rows, queries: &dyn Rows, k: usize) -> Result<Vec<u32>, ExecutionError> {
    if is_gpu(&bank.device()) && k <= on_device::MOST {
        return on_device::nearest_images(bank, queries, k).await;
    }
    let neighbours = nearest(bank, queries, k).await?;
    Ok(neighbours.iter().flatten().map(|neighbour| neighbour.image as u32).collect())
}

/// The nearest of the images seen so far to a query.
#[derive(Clone)]
struct Nearest {
    k: usize,
    /// The `k` nearest, among a few others.
    near: Vec<Neighbour>,
    /// Similarity of the nearest image that is known to be beyond the `k` nearest; initially the lowest value by
    /// `total_cmp`.
    too_far: f32,
}

impl Nearest {
    fn new(k: usize) -> Self {
        Self { k, near: Vec::new(), too_far: f32::from_bits(u32::MAX) }
    }

    /// Adds the images from `first` on, with these similarities.
    fn add(&mut self, first: usize, similarities: &[f32]) {
        /// Images that are skipped together if none is near enough.
        const RUN: usize = 64;
        for (run, similarities) in similarities.chunks(RUN).enumerate() {
            if similarities.iter().fold(true, |all, similarity| all & (*similarity < self.too_far)) {
                continue;
            }
            let neighbours = (first + run * RUN..)
                .zip(similarities)
                .filter(|(_, similarity)| similarity.total_cmp(&self.too_far).is_ge())
                .map(|(image, &similarity)| Neighbour { image, similarity });
            self.near.extend(neighbours);
            if self.near.len() > 2 * self.k + RUN {
                let (_, next, _) = self.near.select_nth_unstable_by(self.k, nearer);
                self.too_far = next.similarity;
                self.near.truncate(self.k);
            }
        }
    }

    /// Returns the `k` nearest, nearest first.
    fn finish(mut self) -> Vec<Neighbour> {
        self.near.sort_unstable_by(nearer);
        self.near.truncate(self.k);
        self.near.shrink_to_fit();
        self.near
    }
}

/// Orders by similarity, highest first. Ties go to the earlier image, so that runs are reproducible.
fn nearer(a: &Neighbour, b: &Neighbour) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then(a.image.cmp(&b.image))
}

/// What the training images nearest to each test image predict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Voted {
    /// The accuracy of their vote.
    pub vote: Accuracy,
    /// The accuracy of the nearest one alone, which CompRess reports.
    pub nearest: Accuracy,
}

/// Computes the accuracy of a vote of the `k` training images nearest to each test image.
///
/// # Errors
/// If the device fails.
pub async fn knn(bank: &Features, test: &Features, k: usize) -> Result<Voted, ExecutionError> {
    let neighbours = nearest(&*bank.values, &*test.values, k).await?;
    let classes = bank.classes();
    let accuracy = |class: &dyn Fn(&[Neighbour]) -> Option<u32>| {
        let is_right = |(neighbours, label): &(&Vec<Neighbour>, &u32)| class(neighbours) == Some(**label);
        Accuracy::new(neighbours.iter().zip(&test.labels).filter(is_right).count(), test.labels.len())
    };
    Ok(Voted {
        vote: accuracy(&|neighbours| vote(neighbours, &bank.labels, classes)),
        nearest: accuracy(&|neighbours| Some(bank.labels[neighbours.first()?.image])),
    })
}

/// Computes the accuracy of a vote of the `k` images nearest to each image, itself left out.
///
/// # Errors
/// If the device fails.
pub async fn leave_one_out(images: &Features, k: usize) -> Result<Accuracy, ExecutionError> {
    let neighbours = nearest(&*images.values, &*images.values, k + 1).await?;
    let classes = images.classes();
    let is_right = |(image, mut others): (usize, Vec<Neighbour>)| {
        others.retain(|other| other.image != image);
        others.truncate(k);
        vote(&others, &images.labels, classes) == Some(images.labels[image])
    };
    let right = neighbours.into_iter().enumerate().map(is_right).filter(|is_right| *is_right).count();
    Ok(Accuracy::new(right, images.labels.len()))
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
    use std::rc::Rc;

    use burn::tensor::{Device, Distribution, Tensor};
    use futures::executor::block_on;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    fn features(values: [[f32; 2]; 4], labels: [u32; 4]) -> Features {
        let values = Rc::new(Tensor::<2>::from_data(values, &Device::flex()));
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
            // The bank's parts are seen one after the other.
            let mut nearest = Nearest::new(k);
            for part in chunks(count, 1777) {
                nearest.add(part.start, &similarities[part]);
            }
            assert_eq!(images(&nearest.finish()), images(&sorted[..k]));
        }
    }

    #[test]
    fn the_nearest_vote() {
        let bank = features([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0], [-0.1, 1.0]], [0, 0, 1, 1]);
        let test = features([[5.0, 0.0], [0.0, 0.5], [1.0, 0.2], [1.0, 0.1]], [0, 1, 0, 1]);
        let nearest = block_on(nearest(&*bank.values, &*test.values, 2)).unwrap();
        let images: Vec<Vec<usize>> = nearest.iter().map(|row| row.iter().map(|near| near.image).collect()).collect();
        assert_eq!(images, [[0, 1], [2, 3], [1, 0], [1, 0]]);
        let accuracy = block_on(knn(&bank, &test, 3)).unwrap();
        assert_eq!(accuracy, Voted { vote: Accuracy::new(3, 4), nearest: Accuracy::new(3, 4) });
        // The nearest image is right, but the two that follow outvote it.
        let bank = features([[0.0, 1.0], [1.0, 0.0], [1.0, 0.3], [1.0, -0.3]], [1, 0, 1, 1]);
        let test = features([[5.0, 0.0], [0.0, 0.5], [1.0, 0.02], [1.0, -0.02]], [0, 1, 0, 0]);
        let accuracy = block_on(knn(&bank, &test, 3)).unwrap();
        assert_eq!(accuracy, Voted { vote: Accuracy::new(1, 4), nearest: Accuracy::new(4, 4) });
    }

    #[test]
    fn an_image_left_out_does_not_vote_for_itself() {
        let images = |labels| features([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0], [-0.1, 1.0]], labels);
        let right = |labels| block_on(leave_one_out(&images(labels), 1)).unwrap();
        assert_eq!(right([0, 0, 1, 1]), Accuracy::new(4, 4));
        assert_eq!(right([0, 1, 1, 1]), Accuracy::new(2, 4));
        assert_eq!(right([0, 1, 0, 1]), Accuracy::new(0, 4));
        // Equal images are neighbours of each other.
        let equal = features([[1.0, 0.0]; 4], [0, 0, 0, 1]);
        assert_eq!(block_on(leave_one_out(&equal, 3)).unwrap(), Accuracy::new(3, 4));
    }

    #[test]
    fn a_bank_in_parts_has_the_neighbours_of_the_whole() {
        let random = |rows| Tensor::<2>::random([rows, 5], Distribution::Normal(0.0, 1.0), &Device::flex());
        let (bank, queries) = (random(2 * BANK_AT_ONCE + 100), random(QUERIES_AT_ONCE + 10));
        let similarities = normalize(queries.clone()).matmul(normalize(bank.clone()).transpose()).into_data();
        let similarities = similarities.as_slice::<f32>().unwrap().chunks_exact(bank.dims()[0]);
        let found = block_on(nearest(&bank, &queries, 3)).unwrap();
        assert_eq!(found.len(), QUERIES_AT_ONCE + 10);
        for (found, similarities) in found.iter().zip(similarities) {
            let mut best: Vec<f32> = similarities.to_vec();
            best.sort_unstable_by(|a, b| b.total_cmp(a));
            for (found, best) in found.iter().zip(best) {
                assert!((found.similarity - best).abs() < 1e-6);
                assert!((similarities[found.image] - found.similarity).abs() < 1e-6);
            }
        }
    }
}
