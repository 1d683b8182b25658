//! Contrastive logits and cross-entropies, each as one operation forward and one backward.
//!
//! A cross-entropy computes the gradient of its logits in the forward pass, which has all of its terms; the backward
//! pass only scales it.

mod autodiff;
mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
mod plain;
#[cfg(test)]
mod tests;

use burn::{
    backend::{
        Backend, Dispatch, backend_extension,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{Int, Tensor},
};

/// Scales every row to unit length. Shape: `[n, d]`, kept.
pub fn normalize(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::normalize(x.into_dispatch()))
}

/// Computes the similarity of each query to its own key, in column 0, and to every key of the queue. Keys get no
/// gradient.
///
/// Shapes: queries `[n, d]`, keys `[n, d]`, queue `[d, k]`, all of unit length over `d`; to `[n, 1 + k]`.
pub fn moco_logits(queries: Tensor<2>, keys: Tensor<2>, queue: Tensor<2>) -> Tensor<2> {
    let [queries, keys, queue] = [queries, keys, queue].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::moco_logits(queries, keys, queue))
}

/// A cross-entropy with target columns.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// The mean over the rows, `[1]`.
    pub loss: Tensor<1>,
    /// The rank of each row's target, `[n]`, without a graph: the number of columns whose logit is not below the
    /// target's, itself included. It is 1 if the target is first, and high if all logits are equal.
    pub ranks: Tensor<1>,
}

/// Computes the mean cross-entropy of `logits`, `[n, c]`, divided by the temperature, with the target column of each
/// row, `[n]`.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, temperature: f64) -> CrossEntropy {
    let (loss, _, ranks) = Dispatch::cross_entropy(logits.into_dispatch(), targets.into_dispatch(), temperature);
    CrossEntropy { loss: Tensor::from_dispatch(loss), ranks: Tensor::<1>::from_dispatch(ranks).without_autodiff() }
}

/// A cross-entropy with a teacher's softmax.
#[derive(Debug, Clone)]
pub struct SoftCrossEntropy {
    /// The mean over the rows, `[1]`. Its minimum is the mean entropy of the teacher's softmax.
    pub loss: Tensor<1>,
    /// How far each row is above that minimum, `[n]`, without a graph: the Kullback-Leibler divergence of the teacher's
    /// softmax from the student's.
    pub divergences: Tensor<1>,
}

/// Computes the mean cross-entropy of the student's logits with the softmax of the teacher's, `[n, c]` each, each
/// divided by its temperature. The teacher gets no gradient.
pub fn soft_cross_entropy(logits: [Tensor<2>; 2], temperatures: [f64; 2]) -> SoftCrossEntropy {
    let [student, teacher] = logits.map(Tensor::into_dispatch);
    let (loss, _, divergences) = Dispatch::soft_cross_entropy(student, teacher, temperatures);
    let divergences = Tensor::<1>::from_dispatch(divergences).without_autodiff();
    SoftCrossEntropy { loss: Tensor::from_dispatch(loss), divergences }
}

/// Contrastive logits and cross-entropies as operations of a back end; by default in its own operations.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait ContrastiveBackend: Backend {
    /// See [`normalize`].
    fn normalize(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::normalize::<Self>(x)
    }

    /// See [`moco_logits`].
    fn moco_logits(queries: FloatTensor<Self>, keys: FloatTensor<Self>, queue: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::moco_logits::<Self>(queries, keys, queue)
    }

    /// See [`cross_entropy`](fn@cross_entropy). Returns the loss, the gradient of the logits, and the ranks.
    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::cross_entropy::<Self>(logits, targets, temperature)
    }

    /// See [`soft_cross_entropy`](fn@soft_cross_entropy). Returns the loss, the gradient of the student's logits, and
    /// the divergences.
    fn soft_cross_entropy(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        temperatures: [f64; 2],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::soft_cross_entropy::<Self>(student, teacher, temperatures)
    }
}

/// The backward passes of [`ContrastiveBackend`]; by default in the back end's own operations.
pub trait ContrastiveBackward: ContrastiveBackend {
    /// Returns the gradient of `x`, given that of its rows of unit length.
    fn normalize_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::normalize_backward::<Self>(x, gradient)
    }

    /// Returns the gradient of the queries, given that of the logits.
    fn moco_logits_backward(
        keys: FloatTensor<Self>,
        queue: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        plain::moco_logits_backward::<Self>(keys, queue, gradient)
    }
}
