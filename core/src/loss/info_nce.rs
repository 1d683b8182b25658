//! InfoNCE over a queue of keys (spec section 2; van den Oord et al. 2018, MoCo).

use burn::tensor::{Tensor, activation::log_softmax};

/// Similarity of each query to its own key, in column 0, and to every key of the queue.
///
/// Shapes: queries `[n, d]`, keys `[n, d]`, queue `[d, k]`, all of unit length over `d`; to `[n, 1 + k]`.
pub fn logits(queries: Tensor<2>, keys: Tensor<2>, queue: Tensor<2>) -> Tensor<2> {
    let positive = (queries.clone() * keys).sum_dim(1);
    let negative = queries.matmul(queue);
    Tensor::cat(vec![positive, negative], 1)
}

/// Cross-entropy of `logits / temperature` to column 0. Shape: `[n, 1 + k]` to `[1]`.
pub fn info_nce(logits: Tensor<2>, temperature: f64) -> Tensor<1> {
    log_softmax(logits.div_scalar(temperature), 1).narrow(1, 0, 1).mean().neg()
}
