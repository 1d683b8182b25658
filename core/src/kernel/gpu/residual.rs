//! The end of a residual block: see [`crate::kernel::residual`].

use burn::backend::{
    TensorMetadata,
    ops::{ActivationOps, FloatTensorOps},
    tensor::FloatTensor,
};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{calculate_cube_count_elemwise, prelude::*};

use super::{Joint, UNITS, is_f32};
use crate::kernel::residual::ResidualBackend;

/// A value of `relu(a + b)`, or, `backward`, of the gradient `b` behind the ReLU that made `a`.
#[cube(launch_unchecked)]
fn add_relu(a: &[f32], b: &[f32], target: &mut [f32], length: usize, #[comptime] backward: bool) {
    if ABSOLUTE_POS < length {
        let first = a[ABSOLUTE_POS];
        let second = b[ABSOLUTE_POS];
        if comptime!(backward) {
            target[ABSOLUTE_POS] = if first <= 0.0f32 { 0.0f32 } else { second };
        } else {
            // NaN passes: a diverged run must show.
            let sum = first + second;
            target[ABSOLUTE_POS] = if sum < 0.0f32 { 0.0f32 } else { sum };
        }
    }
}

fn launch(a: CubeTensor, b: CubeTensor, backward: bool) -> CubeTensor {
    let [a, b] = [a, b].map(into_contiguous);
    let target = Joint::new(&a, a.shape(), 1);
    let length = a.shape().num_elements();
    let units = CubeDim::new_1d(UNITS as u32);
    // SAFETY: the tensors have one shape, of so many values.
    unsafe {
        add_relu::launch_unchecked(
            &a.client.clone(),
            calculate_cube_count_elemwise(&a.client, length, units),
            units,
            a.into_buffer_arg(),
            b.into_buffer_arg(),
            target.buffer(),
            length,
            backward,
        );
    }
    let [target] = target.into();
    target
}

impl ResidualBackend for CubeBackend {
    fn add_relu(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        if is_f32(&a) { launch(a, b, false) } else { Self::relu(Self::float_add(a, b)) }
    }

    fn add_relu_backward(output: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        if is_f32(&output) { launch(output, gradient, true) } else { Self::relu_backward(output, gradient) }
    }
}
