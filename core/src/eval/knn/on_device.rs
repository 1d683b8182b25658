//! The search for a few nearest images on the device itself.

use burn::tensor::{ExecutionError, Int, Tensor};

use super::{BANK_AT_ONCE, QUERIES_PER_PASS};
use crate::{
    eval::features::{Rows, chunks},
    loss::normalize,
};

/// The most neighbours that are found on a device: it keeps them in registers and in a workgroup's memory, of which
/// browsers grant 16 kB.
pub const MOST: usize = 8;

/// Queries whose similarities are on the device at once: 64 MB.
const QUERIES_AT_ONCE: usize = 2048;

/// Finds the `k` most similar images of `bank`, `[m, f]`, to each of `queries`, `[n, f]`, by the cosine of their features,
/// nearest first; ties go to the earlier image. Returns `[n, k]` indices, row by row.
///
/// # Errors
/// If the device fails.
pub async fn nearest_images(bank: &dyn Rows, queries: &dyn Rows, k: usize) -> Result<Vec<u32>, ExecutionError> {
    let ([images, _], [count, _]) = (bank.dims(), queries.dims());
    let k = k.min(images);
    let mut found = Vec::with_capacity(count * k);
    for pass in chunks(count, QUERIES_PER_PASS) {
        let queries = normalize(queries.rows(pass.clone()));
        let mut nearest: Vec<Option<Nearest>> = chunks(pass.len(), QUERIES_AT_ONCE).map(|_| None).collect();
        for part in chunks(images, BANK_AT_ONCE) {
            let part_of_bank = normalize(bank.rows(part.clone())).transpose();
            for (rows, nearest) in chunks(pass.len(), QUERIES_AT_ONCE).zip(&mut nearest) {
                let similarities = queries.clone().slice([rows]).matmul(part_of_bank.clone());
                let of_part = Nearest::new(similarities, part.start, k);
                *nearest = Some(match nearest.take() {
                    Some(earlier) => earlier.merge(of_part, k),
                    None => of_part,
                });
            }
            // So that the device is never far behind the rows that are read.
            if let Some(Some(Nearest { similarities, .. })) = nearest.last() {
                similarities.clone().slice([0..1, 0..1]).into_data_async().await?;
            }
        }
        for Nearest { images, .. } in nearest.into_iter().flatten() {
            found.extend(images.into_data_async().await?.iter::<i64>().map(|image| image as u32));
        }
    }
    Ok(found)
}

/// The nearest images of those seen so far, nearest first.
struct Nearest {
    /// `[n, k]`.
    similarities: Tensor<2>,
    /// Their indices, `[n, k]`.
    images: Tensor<2, Int>,
}

impl Nearest {
    /// Finds the nearest of some images, `[n, m]`, of which the first one has the index `first`.
    fn new(similarities: Tensor<2>, first: usize, k: usize) -> Self {
        let [_, images] = similarities.dims();
        let (similarities, images) = similarities.topk_with_indices(k.min(images), 1);
        Self { similarities, images: images.add_scalar(first as i64) }
    }

    /// Finds the nearest of these and of `later` images.
    fn merge(self, later: Self, k: usize) -> Self {
        let similarities = Tensor::cat(vec![self.similarities, later.similarities], 1);
        let images = Tensor::cat(vec![self.images, later.images], 1);
        let [_, columns] = similarities.dims();
        let (similarities, places) = similarities.topk_with_indices(k.min(columns), 1);
        Self { similarities, images: images.gather(1, places) }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn the_nearest_images_of_all_parts_are_those_of_a_full_sort() {
        let random = |rows| Tensor::<2>::random([rows, 6], Distribution::Normal(0.0, 1.0), &Device::flex());
        // The last part has fewer images than neighbours are asked for.
        let (bank, queries) = (random(BANK_AT_ONCE + 3), random(QUERIES_AT_ONCE + 5));
        let found = block_on(nearest_images(&bank, &queries, 5)).unwrap();
        let similarities = normalize(queries.clone()).matmul(normalize(bank.clone()).transpose()).into_data();
        let similarities = similarities.as_slice::<f32>().unwrap().chunks_exact(bank.dims()[0]);
        assert_eq!(found.len(), 5 * queries.dims()[0]);
        for (found, similarities) in found.chunks_exact(5).zip(similarities) {
            let mut images: Vec<u32> = (0..similarities.len() as u32).collect();
            images.sort_by(|a, b| similarities[*b as usize].total_cmp(&similarities[*a as usize]));
            assert_eq!(found, &images[..5]);
        }
    }

    #[test]
    fn ties_go_to_the_earlier_image_and_there_are_no_more_neighbours_than_images() {
        let device = Device::flex();
        let bank = Tensor::<2>::from_data([[0.0, 1.0], [2.0, 0.0], [1.0, 0.0], [1.0, 1.0]], &device);
        let queries = Tensor::<2>::from_data([[3.0, 0.0]], &device);
        assert_eq!(block_on(nearest_images(&bank, &queries, 3)).unwrap(), [1, 2, 3]);
        assert_eq!(block_on(nearest_images(&bank, &queries, 9)).unwrap(), [1, 2, 3, 0]);
    }
}
