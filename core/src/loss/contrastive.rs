//! Contrastive logits and their cross-entropy (van den Oord et al. 2018; MoCo v2 and v3; SimCLR).

use burn::tensor::{Device, Int, Tensor};

pub use crate::kernel::contrastive::{cross_entropy, moco_logits};

/// Computes the similarity of each query to every key of the batch; the positive is on the diagonal.
///
/// Shapes: queries `[n, d]`, keys `[n, d]`, to `[n, n]`.
pub fn mocov3_logits(queries: Tensor<2>, keys: Tensor<2>) -> Tensor<2> {
    queries.matmul(keys.transpose())
}

/// Computes the similarity of each view to all other views of the batch. The first half are the first views; the second
/// half are the second views of the same images, in the same order.
///
/// Shape: `[2 n, d]` to `[2 n, 2 n - 1]`.
pub fn simclr_logits(embeddings: Tensor<2>) -> Tensor<2> {
    let [rows, _] = embeddings.dims();
    let similarities = embeddings.clone().matmul(embeddings.transpose());
    // From the second element on, every row of `rows + 1` ends on the diagonal.
    let shifted: Tensor<2> = similarities.reshape([rows * rows]).slice(1..rows * rows).reshape([rows - 1, rows + 1]);
    shifted.narrow(1, 0, rows).reshape([rows, rows - 1])
}

/// Returns the columns of [`simclr_logits`] that hold the other view of the same image. Shape: `[2 n]`.
pub fn simclr_targets(images: usize, device: &Device) -> Tensor<1, Int> {
    let images = images as i64;
    // For a first view, one column to the left, because its own column is left out.
    Tensor::cat(vec![Tensor::arange(images - 1..2 * images - 1, device), Tensor::arange(0..images, device)], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_compared_with_all_but_itself() {
        let device = Device::flex();
        let embeddings = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0], [2.0, 0.5], [0.5, 2.0]], &device);
        let all: Vec<f32> = embeddings.clone().matmul(embeddings.clone().transpose()).into_data().iter().collect();
        let logits: Vec<f32> = simclr_logits(embeddings).into_data().iter().collect();
        let expected: Vec<f32> = (0..4)
            .flat_map(|row| (0..4).filter(move |column| *column != row).map(move |column| (row, column)))
            .map(|(row, column)| all[4 * row + column])
            .collect();
        assert_eq!(logits, expected);
        let columns: Vec<i64> = simclr_targets(2, &device).into_data().iter().collect();
        // View 0's other is view 2, column 1 once column 0 is left out; view 3's is view 1, in column 1.
        assert_eq!(columns, [1, 2, 0, 1]);
    }
}
