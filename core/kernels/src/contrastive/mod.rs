//! Contrastive logits and cross-entropies, each as one operation forward and one backward.
//!
//! A cross-entropy's gradient with respect to the logits follows from what its value is made of, so the forward
//! pass leaves it to the backward.

mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{Int, Tensor},
};

use crate::cpu::is_f32;

/// Added to a norm before dividing by it, as PyTorch's `normalize` does.
pub(super) const TINY: f64 = 1e-12;

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

pub(crate) mod plain {
    //! The operations of a back end's own operations, which define what is right.

    use burn::{
        backend::{
            Backend, TensorMetadata,
            tensor::{FloatTensor, IntTensor},
        },
        tensor::{IndexingUpdateOp, Slice},
    };

    use super::TINY;

    /// Bounded before the root, whose slope at zero is infinite: a row of zeros then has gradient zero.
    fn norms<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        let squares = B::float_sum_dim(B::float_mul(x.clone(), x), 1);
        B::float_sqrt(B::float_clamp_min(squares, (TINY * TINY).into()))
    }

    pub fn normalize<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        let norms = norms::<B>(x.clone());
        B::float_div(x, norms)
    }

    pub fn normalize_backward<B: Backend>(x: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
        let norms = norms::<B>(x.clone());
        let unit = B::float_div(x, norms.clone());
        let along = B::float_sum_dim(B::float_mul(gradient.clone(), unit.clone()), 1);
        B::float_div(B::float_sub(gradient, B::float_mul(unit, along)), norms)
    }

    pub fn moco_logits<B: Backend>(
        queries: FloatTensor<B>,
        keys: FloatTensor<B>,
        queue: FloatTensor<B>,
    ) -> FloatTensor<B> {
        let positive = B::float_sum_dim(B::float_mul(queries.clone(), keys), 1);
        B::float_cat(vec![positive, B::float_matmul(queries, queue)], 1)
    }

    pub fn against_queue_backward<B: Backend>(
        keys: FloatTensor<B>,
        queue: FloatTensor<B>,
        gradient: FloatTensor<B>,
    ) -> FloatTensor<B> {
        let [rows, columns] = gradient.shape().dims();
        let part =
            |from: usize, to: usize| B::float_slice(gradient.clone(), &[Slice::from(0..rows), Slice::from(from..to)]);
        let positive = B::float_mul(keys, part(0, 1));
        B::float_add(positive, B::float_matmul(part(1, columns), B::float_swap_dims(queue, 0, 1)))
    }

    pub fn cross_entropy<B: Backend>(
        logits: FloatTensor<B>,
        targets: IntTensor<B>,
        temperature: f64,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let [rows, _] = logits.shape().dims::<2>();
        let (device, dtype) = (logits.device(), logits.dtype());
        let log_softmax = B::log_softmax(B::float_div_scalar(logits, temperature.into()), 1);
        let targets = B::int_reshape(targets, [rows, 1].into());
        let loss = B::float_neg(B::float_mean(B::float_gather(1, log_softmax.clone(), targets.clone())));
        let share = 1.0 / (rows as f64 * temperature);
        let softmax = B::float_mul_scalar(B::float_exp(log_softmax), share.into());
        let ones = B::float_full([rows, 1].into(), (-share).into(), &device, dtype.into());
        (loss, B::float_scatter(1, softmax, targets, ones, IndexingUpdateOp::Add))
    }

    pub fn soft_cross_entropy<B: Backend>(
        student: FloatTensor<B>,
        teacher: FloatTensor<B>,
        of_student: f64,
        of_teacher: f64,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let [rows, _] = student.shape().dims::<2>();
        let target = B::softmax(B::float_div_scalar(teacher, of_teacher.into()), 1);
        let log_softmax = B::log_softmax(B::float_div_scalar(student, of_student.into()), 1);
        let products = B::float_sum(B::float_mul(target.clone(), log_softmax.clone()));
        let loss = B::float_div_scalar(products, (-(rows as f64)).into());
        let difference = B::float_sub(B::float_exp(log_softmax), target);
        (loss, B::float_div_scalar(difference, (rows as f64 * of_student).into()))
    }
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

impl ContrastBackend for Flex {
    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&logits) {
            return plain::cross_entropy::<Self>(logits, targets, temperature);
        }
        let targets: Vec<usize> = targets.into_data().iter::<i64>().map(|column| column as usize).collect();
        cpu::cross_entropy(&logits, &targets, temperature)
    }

    fn soft_cross_entropy(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        of_student: f64,
        of_teacher: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&student) {
            return plain::soft_cross_entropy::<Self>(student, teacher, of_student, of_teacher);
        }
        cpu::soft_cross_entropy([&student, &teacher], [of_student, of_teacher])
    }
}

/// The graph's step of [`ContrastBackend::normalize`].
#[derive(Debug)]
struct NormalizeStep;

impl<B: ContrastBackend> Backward<B, 1> for NormalizeStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = B::normalize_backward(ops.state, grads.consume::<B>(&ops.node));
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, gradient);
        }
    }
}

/// The graph's step of [`ContrastBackend::moco_logits`]; keeps the keys and the queue.
#[derive(Debug)]
struct AgainstQueueStep;

impl<B: ContrastBackend> Backward<B, 1> for AgainstQueueStep {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (keys, queue) = ops.state;
        let gradient = B::against_queue_backward(keys, queue, grads.consume::<B>(&ops.node));
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, gradient);
        }
    }
}

/// The graph's step of a cross-entropy; keeps the gradient of the logits.
#[derive(Debug)]
struct CrossEntropyStep;

impl<B: ContrastBackend> Backward<B, 1> for CrossEntropyStep {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let of_loss = B::float_reshape(grads.consume::<B>(&ops.node), [1, 1].into());
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, B::float_mul(ops.state, of_loss));
        }
    }
}

impl<B: ContrastBackend, C: CheckpointStrategy> ContrastBackend for Autodiff<B, C> {
    fn normalize(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let step = NormalizeStep.prepare::<C>([x.node()]).compute_bound().stateful();
        let x = Self::inner(x);
        let output = B::normalize(x.clone());
        match step {
            OpsKind::Tracked(step) => step.finish(x, output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }

    fn normalize_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("the gradient of the gradient is never asked for")
    }

    fn moco_logits(queries: FloatTensor<Self>, keys: FloatTensor<Self>, queue: FloatTensor<Self>) -> FloatTensor<Self> {
        let step = AgainstQueueStep.prepare::<C>([queries.node()]).compute_bound().stateful();
        let [queries, keys, queue] = [queries, keys, queue].map(Self::inner);
        let output = B::moco_logits(queries, keys.clone(), queue.clone());
        match step {
            OpsKind::Tracked(step) => step.finish((keys, queue), output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }

    fn against_queue_backward(_: FloatTensor<Self>, _: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("the gradient of the gradient is never asked for")
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let step = CrossEntropyStep.prepare::<C>([logits.node()]).compute_bound().stateful();
        let (loss, gradient) = B::cross_entropy(Self::inner(logits), targets, temperature);
        let loss = match step {
            OpsKind::Tracked(step) => step.finish(gradient.clone(), loss),
            OpsKind::UnTracked(step) => step.finish(loss),
        };
        (loss, Self::from_inner(gradient))
    }

    fn soft_cross_entropy(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        of_student: f64,
        of_teacher: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let step = CrossEntropyStep.prepare::<C>([student.node()]).compute_bound().stateful();
        let [student, teacher] = [student, teacher].map(Self::inner);
        let (loss, gradient) = B::soft_cross_entropy(student, teacher, of_student, of_teacher);
        let loss = match step {
            OpsKind::Tracked(step) => step.finish(gradient.clone(), loss),
            OpsKind::UnTracked(step) => step.finish(loss),
        };
        (loss, Self::from_inner(gradient))
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        backend::{Flex, TensorMetadata, flex::FlexTensor},
        tensor::TensorData,
    };
    use rand::{RngExt, SeedableRng};
    use rand_distr::StandardNormal;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    fn close(found: FlexTensor, expected: FlexTensor) -> bool {
        let same_shape = found.shape() == expected.shape();
        let [found, expected] = [found, expected].map(|tensor| tensor.into_data().iter::<f32>().collect::<Vec<_>>());
        let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
        same_shape && found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-5 * largest)
    }

    #[test]
    fn the_fused_forms_on_the_cpu_are_the_plain_ones() {
        let mut random = Pcg64Mcg::seed_from_u64(0);
        for (rows, columns) in [(1, 1), (3, 17), (5, 129), (2, 4097)] {
            let mut logits = || {
                let values: Vec<f32> =
                    (0..rows * columns).map(|_| 3.0 * random.sample::<f32, _>(StandardNormal)).collect();
                FlexTensor::from_data(TensorData::new(values, [rows, columns]))
            };
            let (student, teacher) = (logits(), logits());
            let targets: Vec<i64> = (0..rows as i64).map(|row| row * 7 % columns as i64).collect();
            let targets = FlexTensor::from_data(TensorData::new(targets, [rows]));
            let found = <Flex as ContrastBackend>::cross_entropy(student.clone(), targets.clone(), 0.2);
            let expected = plain::cross_entropy::<Flex>(student.clone(), targets, 0.2);
            assert!(close(found.0, expected.0) && close(found.1, expected.1), "{rows} x {columns}");
            let found = <Flex as ContrastBackend>::soft_cross_entropy(student.clone(), teacher.clone(), 0.5, 2.0);
            let expected = plain::soft_cross_entropy::<Flex>(student, teacher, 0.5, 2.0);
            assert!(close(found.0, expected.0), "{rows} x {columns}, loss");
            // Of differences of probabilities, so relative to these.
            assert!(columns == 1 || close(found.1, expected.1), "{rows} x {columns}, gradient");
        }
    }
}
