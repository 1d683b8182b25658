//! Reference implementations in the back end's own operations; also used for large products on GPUs and for dtypes
//! without a fused kernel.

use burn::{
    backend::{
        Backend, TensorMetadata,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{IndexingUpdateOp, Slice},
};

/// The smallest norm that a row is divided by, as in PyTorch's `normalize`.
pub const TINY: f64 = 1e-12;

/// Returns the rows' norms, bounded before the square root, whose slope at zero is infinite: a row of zeros gets
/// gradient zero.
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

pub fn moco_logits<B: Backend>(queries: FloatTensor<B>, keys: FloatTensor<B>, queue: FloatTensor<B>) -> FloatTensor<B> {
    let positive = B::float_sum_dim(B::float_mul(queries.clone(), keys), 1);
    B::float_cat(vec![positive, B::float_matmul(queries, queue)], 1)
}

pub fn moco_logits_backward<B: Backend>(
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
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let [rows, _] = logits.shape().dims::<2>();
    let (device, dtype) = (logits.device(), logits.dtype());
    let targets = B::int_reshape(targets, [rows, 1].into());
    let ranks = ranks::<B>(logits.clone(), targets.clone());
    let log_softmax = B::log_softmax(B::float_div_scalar(logits, temperature.into()), 1);
    let loss = B::float_neg(B::float_mean(B::float_gather(1, log_softmax.clone(), targets.clone())));
    let share = 1.0 / (rows as f64 * temperature);
    let softmax = B::float_mul_scalar(B::float_exp(log_softmax), share.into());
    let ones = B::float_full([rows, 1].into(), (-share).into(), &device, dtype.into());
    (loss, B::float_scatter(1, softmax, targets, ones, IndexingUpdateOp::Add), ranks)
}

/// Returns the number of values of each row that are not below that of its target column, `[n]`.
fn ranks<B: Backend>(logits: FloatTensor<B>, targets: IntTensor<B>) -> FloatTensor<B> {
    let [rows, columns] = logits.shape().dims();
    let of_targets = B::float_gather(1, logits.clone(), targets);
    let is_below = B::float_clamp_min(B::float_sign(B::float_sub(of_targets, logits)), 0.0.into());
    let ranks = B::float_add_scalar(B::float_neg(B::float_sum_dim(is_below, 1)), (columns as f64).into());
    B::float_reshape(ranks, [rows].into())
}

pub fn soft_cross_entropy<B: Backend>(
    student: FloatTensor<B>,
    teacher: FloatTensor<B>,
    [student_temperature, teacher_temperature]: [f64; 2],
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let [rows, _] = student.shape().dims::<2>();
    let teacher = B::float_div_scalar(teacher, teacher_temperature.into());
    let (target, log_target) = (B::softmax(teacher.clone(), 1), B::log_softmax(teacher, 1));
    let log_softmax = B::log_softmax(B::float_div_scalar(student, student_temperature.into()), 1);
    let products = B::float_sum(B::float_mul(target.clone(), log_softmax.clone()));
    let loss = B::float_div_scalar(products, (-(rows as f64)).into());
    let divergences = B::float_sum_dim(B::float_mul(target.clone(), B::float_sub(log_target, log_softmax.clone())), 1);
    let difference = B::float_sub(B::float_exp(log_softmax), target);
    let gradient = B::float_div_scalar(difference, (rows as f64 * student_temperature).into());
    (loss, gradient, B::float_reshape(divergences, [rows].into()))
}
