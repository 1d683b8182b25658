//! Contrastive logits and cross-entropies, each as one operation forward and one backward.
//!
//! A cross-entropy's gradient with respect to the logits follows from what its value is made of, so the forward
//! pass leaves it to the backward.

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

/// Similarity of each query to its own key, in column 0, and to every key of the queue. No gradient goes to the keys.
///
/// Shapes: queries `[n, d]`, keys `[n, d]`, queue `[d, k]`, all of unit length over `d`; to `[n, 1 + k]`.
pub fn moco_logits(queries: Tensor<2>, keys: Tensor<2>, queue: Tensor<2>) -> Tensor<2> {
    let logits = Dispatch::moco_logits(queries.into_dispatch(), keys.into_dispatch(), queue.into_dispatch());
    Tensor::from_dispatch(logits)
}

/// Mean cross-entropy of `logits`, `[n, c]`, over the temperature, to the right column of each row, `[n]`. To `[1]`.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, temperature: f64) -> Tensor<1> {
    let (loss, _) = Dispatch::cross_entropy(logits.into_dispatch(), targets.into_dispatch(), temperature);
    Tensor::from_dispatch(loss)
}

/// Mean cross-entropy of the student's logits to the softmax of the teacher's, `[n, c]` each, over their temperatures. No
/// gradient goes to the teacher. To `[1]`.
pub fn soft_cross_entropy([student, teacher]: [Tensor<2>; 2], temperatures: [f64; 2]) -> Tensor<1> {
    let [of_student, of_teacher] = temperatures;
    let (loss, _) =
        Dispatch::soft_cross_entropy(student.into_dispatch(), teacher.into_dispatch(), of_student, of_teacher);
    Tensor::from_dispatch(loss)
}

/// These operations of a back end; by default of its own operations.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait ContrastBackend: Backend {
    /// See [`normalize`].
    fn normalize(x: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::normalize::<Self>(x)
    }

    /// The gradient of the input.
    fn normalize_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::normalize_backward::<Self>(x, gradient)
    }

    /// See [`moco_logits`].
    fn moco_logits(queries: FloatTensor<Self>, keys: FloatTensor<Self>, queue: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::moco_logits::<Self>(queries, keys, queue)
    }

    /// The gradient of the queries.
    fn against_queue_backward(
        keys: FloatTensor<Self>,
        queue: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        plain::against_queue_backward::<Self>(keys, queue, gradient)
    }

    /// See [`cross_entropy`](fn@cross_entropy); with the logits' gradient.
    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::cross_entropy::<Self>(logits, targets, temperature)
    }

    /// See [`soft_cross_entropy`](fn@soft_cross_entropy); with the gradient of the student's logits.
    fn soft_cross_entropy(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        of_student: f64,
        of_teacher: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::soft_cross_entropy::<Self>(student, teacher, of_student, of_teacher)
    }
}
