//! Contrastive logits and cross-entropies on GPUs, for f32. A workgroup takes a row.

use burn::{
    backend::{
        TensorMetadata,
        ops::FloatTensorOps,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{DType, Shape},
};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{prelude::*, server::CubeCountSelection};

use super::{
    ContrastiveBackend, ContrastiveBackward,
    plain::{self, TINY},
};
use crate::gpu::{SMALL, SharedBuffer, UNITS, is_f32, workgroup_sum};

/// Scales a row to unit length, or, given the result's `gradient`, computes that of the row.
#[cube(launch_unchecked)]
fn unit_row(x: &[f32], gradient: ComptimeOption<&[f32]>, target: &mut [f32], columns: usize, tiny: f32) {
    let start = CUBE_POS_X as usize * columns;
    let mut squares = 0.0f32;
    let mut along = 0.0f32;
    let mut column = UNIT_POS as usize;
    while column < columns {
        let value = x[start + column];
        squares += value * value;
        #[comptime]
        match &gradient {
            ComptimeOption::Some(gradient) => along += value * gradient[start + column],
            ComptimeOption::None => {}
        }
        column += comptime!(UNITS);
    }
    let (squares, along) = workgroup_sum(squares, along, 1usize);
    let is_tiny = squares < tiny * tiny;
    let norm = if is_tiny { tiny } else { squares.sqrt() };
    let slope = if is_tiny { 0.0f32 } else { along / squares };
    let mut column = UNIT_POS as usize;
    while column < columns {
        let value = x[start + column];
        #[comptime]
        match &gradient {
            ComptimeOption::Some(gradient) => {
                target[start + column] = (gradient[start + column] - value * slope) / norm;
            }
            ComptimeOption::None => target[start + column] = value / norm,
        }
        column += comptime!(UNITS);
    }
}

/// Computes one logit of [`ContrastiveBackend::moco_logits`].
#[cube(launch_unchecked)]
fn logit(
    queries: &[f32],
    keys: &[f32],
    queue: &[f32],
    logits: &mut [f32],
    rows: usize,
    columns: usize,
    dim: usize,
    row_stride: usize,
    column_stride: usize,
) {
    if ABSOLUTE_POS < rows * columns {
        let row = ABSOLUTE_POS / columns;
        let column = ABSOLUTE_POS - row * columns;
        let mut sum = 0.0f32;
        if column == 0 {
            for place in 0..dim {
                sum += queries[row * dim + place] * keys[row * dim + place];
            }
        } else {
            for place in 0..dim {
                sum += queries[row * dim + place] * queue[place * row_stride + (column - 1) * column_stride];
            }
        }
        logits[ABSOLUTE_POS] = sum;
    }
}

/// Computes one value of the queries' gradient per workgroup.
#[cube(launch_unchecked)]
fn query_gradient(
    keys: &[f32],
    queue: &[f32],
    gradient: &[f32],
    target: &mut [f32],
    columns: usize,
    dim: usize,
    row_stride: usize,
    column_stride: usize,
) {
    let row = CUBE_POS_Y as usize;
    let place = CUBE_POS_X as usize;
    let mut sum = 0.0f32;
    let mut column = UNIT_POS as usize;
    while column < columns - 1 {
        sum += gradient[row * columns + column + 1] * queue[place * row_stride + column * column_stride];
        column += comptime!(UNITS);
    }
    let (sum, _) = workgroup_sum(sum, 0.0f32, 1usize);
    if UNIT_POS == 0 {
        target[row * dim + place] = sum + gradient[row * columns] * keys[row * dim + place];
    }
}

/// Computes log-sum-exp of a row times `scale`, and the number of its values that are not below `threshold`.
#[cube]
fn log_sum_exp(values: &[f32], start: usize, columns: usize, scale: f32, threshold: f32) -> (f32, f32) {
    let unit = UNIT_POS as usize;
    let mut highest = values[start] * scale;
    let mut column = unit;
    while column < columns {
        let value = values[start + column] * scale;
        if value > highest {
            highest = value;
        }
        column += comptime!(UNITS);
    }
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    shared[unit] = highest;
    sync_cube();
    #[unroll]
    for level in 0..comptime!(UNITS.ilog2()) {
        let step = comptime!(UNITS >> (level + 1));
        if unit < step {
            let other = shared[unit + step];
            if other > shared[unit] {
                shared[unit] = other;
            }
        }
        sync_cube();
    }
    let highest = shared[0];
    let mut sum = 0.0f32;
    let mut above = 0.0f32;
    let mut column = unit;
    while column < columns {
        let value = values[start + column];
        sum += (value * scale - highest).exp();
        let counted = if value < threshold { 0.0f32 } else { 1.0f32 };
        above += counted;
        column += comptime!(UNITS);
    }
    let (sum, above) = workgroup_sum(sum, above, 1usize);
    (highest + sum.ln(), above)
}

/// Computes a row of a cross-entropy with a target column: its share of the mean, the target's rank, and the logits'
/// gradient.
#[cube(launch_unchecked)]
fn hard_row(
    logits: &[f32],
    targets: &[i32],
    losses: &mut [f32],
    ranks: &mut [f32],
    gradient: &mut [f32],
    columns: usize,
    scale: f32,
    share: f32,
) {
    let row = CUBE_POS_X as usize;
    let start = row * columns;
    let right = usize::cast_from(targets[row]);
    let of_target = logits[start + right];
    let (whole, rank) = log_sum_exp(logits, start, columns, scale, of_target);
    if UNIT_POS == 0 {
        losses[row] = (whole - of_target * scale) * share;
        ranks[row] = rank;
    }
    let mut column = UNIT_POS as usize;
    while column < columns {
        let probability = (logits[start + column] * scale - whole).exp();
        let expected = if column == right { 1.0f32 } else { 0.0f32 };
        gradient[start + column] = (probability - expected) * scale * share;
        column += comptime!(UNITS);
    }
}

/// Computes a row of a cross-entropy with the teacher's softmax: its share of the mean, its divergence, and the
/// gradient of the student's logits.
#[cube(launch_unchecked)]
fn soft_row(
    student: &[f32],
    teacher: &[f32],
    losses: &mut [f32],
    divergences: &mut [f32],
    gradient: &mut [f32],
    columns: usize,
    scale: f32,
    teacher_scale: f32,
    share: f32,
) {
    let row = CUBE_POS_X as usize;
    let start = row * columns;
    let (whole, _) = log_sum_exp(student, start, columns, scale, 0.0f32);
    let (whole_of_teacher, _) = log_sum_exp(teacher, start, columns, teacher_scale, 0.0f32);
    let mut loss = 0.0f32;
    let mut divergence = 0.0f32;
    let mut column = UNIT_POS as usize;
    while column < columns {
        let logarithm = student[start + column] * scale - whole;
        let logarithm_of_teacher = teacher[start + column] * teacher_scale - whole_of_teacher;
        let expected = logarithm_of_teacher.exp();
        loss -= expected * logarithm;
        divergence += expected * (logarithm_of_teacher - logarithm);
        gradient[start + column] = (logarithm.exp() - expected) * scale * share;
        column += comptime!(UNITS);
    }
    let (loss, divergence) = workgroup_sum(loss, divergence, 1usize);
    if UNIT_POS == 0 {
        losses[row] = loss * share;
        divergences[row] = divergence;
    }
}

fn unit_rows(x: CubeTensor, gradient: Option<CubeTensor>) -> CubeTensor {
    let [rows, columns] = x.shape().dims();
    let target = SharedBuffer::new(&x, x.shape(), 1);
    let client = x.client.clone();
    // SAFETY: the sizes are those of the tensors.
    unsafe {
        unit_row::launch_unchecked(
            &client,
            CubeCount::Static(rows as u32, 1, 1),
            CubeDim::new_1d(UNITS as u32),
            into_contiguous(x).into_buffer_arg(),
            gradient.map(|gradient| into_contiguous(gradient).into_buffer_arg()).into(),
            target.buffer(),
            columns,
            TINY as f32,
        );
    }
    let [target] = target.into();
    target
}

/// Returns whether a product of `products` multiply-accumulates is computed here.
fn is_fused(tensors: &[&CubeTensor], products: usize) -> bool {
    tensors.iter().all(|tensor| is_f32(tensor)) && products <= SMALL
}

impl ContrastiveBackend for CubeBackend {
    fn normalize(x: FloatTensor<Self>) -> FloatTensor<Self> {
        if is_f32(&x) { unit_rows(x, None) } else { plain::normalize::<Self>(x) }
    }

    fn moco_logits(queries: FloatTensor<Self>, keys: FloatTensor<Self>, queue: FloatTensor<Self>) -> FloatTensor<Self> {
        let ([rows, dim], [_, length]) = (queries.shape().dims(), queue.shape().dims::<2>());
        if !is_fused(&[&queries, &keys, &queue], rows * dim * (1 + length)) {
            return plain::moco_logits::<Self>(queries, keys, queue);
        }
        let columns = 1 + length;
        let logits = SharedBuffer::new(&queries, Shape::new([rows, columns]), 1);
        let client = queries.client.clone();
        let [row_stride, column_stride] = [queue.meta.strides()[0], queue.meta.strides()[1]];
        let groups = (rows * columns).div_ceil(UNITS);
        // SAFETY: the sizes are those of the tensors.
        unsafe {
            logit::launch_unchecked(
                &client,
                CubeCountSelection::new(&client, groups as u32).cube_count(),
                CubeDim::new_1d(UNITS as u32),
                into_contiguous(queries).into_buffer_arg(),
                into_contiguous(keys).into_buffer_arg(),
                queue.into_buffer_arg(),
                logits.buffer(),
                rows,
                columns,
                dim,
                row_stride,
                column_stride,
            );
        }
        let [logits] = logits.into();
        logits
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&logits) || targets.dtype != DType::I32 {
            return plain::cross_entropy::<Self>(logits, targets, temperature);
        }
        let [rows, columns] = logits.shape().dims();
        let [losses, ranks, gradient] =
            [Shape::new([rows]), Shape::new([rows]), logits.shape()].map(|shape| SharedBuffer::new(&logits, shape, 1));
        let client = logits.client.clone();
        // SAFETY: the sizes are those of the tensors.
        unsafe {
            hard_row::launch_unchecked(
                &client,
                CubeCount::Static(rows as u32, 1, 1),
                CubeDim::new_1d(UNITS as u32),
                into_contiguous(logits).into_buffer_arg(),
                into_contiguous(targets).into_buffer_arg(),
                losses.buffer(),
                ranks.buffer(),
                gradient.buffer(),
                columns,
                (1.0 / temperature) as f32,
                1.0 / rows as f32,
            );
        }
        let ([losses], [ranks], [gradient]) = (losses.into(), ranks.into(), gradient.into());
        (Self::float_sum(losses), gradient, ranks)
    }

    fn soft_cross_entropy(
        student: FloatTensor<Self>,
        teacher: FloatTensor<Self>,
        temperatures: [f64; 2],
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&student) || !is_f32(&teacher) {
            return plain::soft_cross_entropy::<Self>(student, teacher, temperatures);
        }
        let [rows, columns] = student.shape().dims();
        let [losses, divergences, gradient] = [Shape::new([rows]), Shape::new([rows]), student.shape()]
            .map(|shape| SharedBuffer::new(&student, shape, 1));
        let client = student.client.clone();
        // SAFETY: the sizes are those of the tensors.
        unsafe {
            soft_row::launch_unchecked(
                &client,
                CubeCount::Static(rows as u32, 1, 1),
                CubeDim::new_1d(UNITS as u32),
                into_contiguous(student).into_buffer_arg(),
                into_contiguous(teacher).into_buffer_arg(),
                losses.buffer(),
                divergences.buffer(),
                gradient.buffer(),
                columns,
                (1.0 / temperatures[0]) as f32,
                (1.0 / temperatures[1]) as f32,
                1.0 / rows as f32,
            );
        }
        let ([losses], [divergences], [gradient]) = (losses.into(), divergences.into(), gradient.into());
        (Self::float_sum(losses), gradient, divergences)
    }
}

impl ContrastiveBackward for CubeBackend {
    fn normalize_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        if is_f32(&x) { unit_rows(x, Some(gradient)) } else { plain::normalize_backward::<Self>(x, gradient) }
    }

    fn moco_logits_backward(
        keys: FloatTensor<Self>,
        queue: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ([rows, dim], [_, columns]) = (keys.shape().dims(), gradient.shape().dims::<2>());
        if !is_fused(&[&gradient, &keys, &queue], rows * dim * columns) {
            return plain::moco_logits_backward::<Self>(keys, queue, gradient);
        }
        let target = SharedBuffer::new(&gradient, keys.shape(), 1);
        let client = gradient.client.clone();
        let [row_stride, column_stride] = [queue.meta.strides()[0], queue.meta.strides()[1]];
        // SAFETY: the sizes are those of the tensors.
        unsafe {
            query_gradient::launch_unchecked(
                &client,
                CubeCount::Static(dim as u32, rows as u32, 1),
                CubeDim::new_1d(UNITS as u32),
                into_contiguous(keys).into_buffer_arg(),
                queue.into_buffer_arg(),
                into_contiguous(gradient).into_buffer_arg(),
                target.buffer(),
                columns,
                dim,
                row_stride,
                column_stride,
            );
        }
        let [target] = target.into();
        target
    }
}
