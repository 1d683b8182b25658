//! Contrastive logits and their cross-entropy (van den Oord et al. 2018; MoCo v2 and v3; SimCLR).

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};

pub use crate::kernel::contrastive::{cross_entropy, moco_logits};
use crate::kernel::ranks::Ranks;

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
    without_own(embeddings.clone().matmul(embeddings.transpose()), 0)
}

/// Computes [`simclr_logits`] of this rank's views, among those of all ranks: `[2 n, d]` to `[2 n, 2 ranks n - 1]`. The
/// columns are the first views of all ranks, then their second views.
pub fn simclr_logits_over(ranks: &Ranks, embeddings: Tensor<2>) -> Tensor<2> {
    if ranks.is_single() {
        return simclr_logits(embeddings);
    }
    let images = embeddings.dims()[0] / 2;
    let halves = [0, images].map(|start| embeddings.clone().narrow(0, start, images));
    let all = Tensor::cat(halves.iter().map(|half| ranks.gather(half.clone())).collect(), 0).transpose();
    let own = [ranks.rank() * images, (ranks.count() + ranks.rank()) * images];
    let of_half = |(half, own): (Tensor<2>, usize)| without_own(half.matmul(all.clone()), own);
    Tensor::cat(halves.into_iter().zip(own).map(of_half).collect(), 0)
}

/// Leaves out of each row of `similarities`, `[n, c]`, the column of the row itself: `first` in the first row, the next
/// one in the second. Returns `[n, c - 1]`.
fn without_own(similarities: Tensor<2>, first: usize) -> Tensor<2> {
    let [rows, columns] = similarities.dims();
    let flat = similarities.reshape([rows * columns]);
    // From the element after the first one to be left out, every row of `columns + 1` ends on the next one.
    let last = first + (rows - 1) * (columns + 1);
    let between: Tensor<2> = flat.clone().slice(first + 1..last + 1).reshape([rows - 1, columns + 1]);
    let between = between.narrow(1, 0, columns).reshape([(rows - 1) * columns]);
    let part = |range: Range<usize>| (!range.is_empty()).then(|| flat.clone().slice(range));
    let mut parts: Vec<Tensor<1>> =
        [part(0..first), Some(between), part(last + 1..rows * columns)].into_iter().flatten().collect();
    // Of all rows, nothing is left at the ends, and nothing is copied.
    let kept = if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, 0) };
    kept.reshape([rows, columns - 1])
}

/// Returns the columns of [`simclr_logits`] that hold the other view of the same image. Shape: `[2 n]`.
pub fn simclr_targets(images: usize, device: &Device) -> Tensor<1, Int> {
    simclr_targets_over(&Ranks::default(), images, device)
}

/// Returns the columns of [`simclr_logits_over`] that hold the other view of the same image, of which this rank has
/// `images`. Shape: `[2 n]`.
pub fn simclr_targets_over(ranks: &Ranks, images: usize, device: &Device) -> Tensor<1, Int> {
    let place = |number: usize| (number * images) as i64;
    let [first, second] = [ranks.rank(), ranks.count() + ranks.rank()].map(place);
    let columns = |start: i64| Tensor::arange(start..start + images as i64, device);
    // For a first view, one column to the left, because its own column is left out.
    Tensor::cat(vec![columns(second - 1), columns(first)], 0)
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
