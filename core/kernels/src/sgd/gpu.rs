//! SGD and EMA on GPUs, for f32.

use burn::{backend::TensorMetadata, backend::tensor::FloatTensor};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{calculate_cube_count_elemwise, prelude::*};

use slimclr_network::layout::ALIGNMENT;

use super::{SgdBackend, plain, types::SgdInput};
use crate::gpu::{SharedBuffer, UNITS, is_f32};

#[cube(launch_unchecked)]
fn sgd_step(
    values: &[f32],
    velocities: &[f32],
    gradient: &[f32],
    decay: &[f32],
    moved: &mut [f32],
    new_velocities: &mut [f32],
    length: usize,
    momentum: f32,
    rate: f32,
) {
    let at = ABSOLUTE_POS;
    if at < length {
        let velocity = momentum * velocities[at] + (gradient[at] + values[at] * decay[at / comptime!(ALIGNMENT)]);
        new_velocities[at] = velocity;
        moved[at] = values[at] - rate * velocity;
    }
}

#[cube(launch_unchecked)]
fn ema(values: &[f32], target: &[f32], moved: &mut [f32], length: usize, keep: f32, share: f32) {
    let at = ABSOLUTE_POS;
    if at < length {
        moved[at] = keep * values[at] + share * target[at];
    }
}

/// How many workgroups take the values of `x`, and of how many invocations.
fn groups(x: &CubeTensor) -> (usize, CubeCount, CubeDim) {
    let (length, units) = (x.shape().num_elements(), CubeDim::new_1d(UNITS as u32));
    (length, calculate_cube_count_elemwise(&x.client, length, units), units)
}

impl SgdBackend for CubeBackend {
    fn sgd_step(input: SgdInput<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&input.values) {
            return plain::sgd_step(input);
        }
        let SgdInput { values, velocities, gradient, decay, momentum, rate } = input;
        let [values, velocities, gradient, decay] = [values, velocities, gradient, decay].map(into_contiguous);
        let (length, count, units) = groups(&values);
        let [moved, new_velocities] = [(); 2].map(|()| SharedBuffer::new(&values, values.shape(), 1));
        // SAFETY: the tensors have one shape, and each block of values has a decay.
        unsafe {
            sgd_step::launch_unchecked(
                &values.client.clone(),
                count,
                units,
                values.into_buffer_arg(),
                velocities.into_buffer_arg(),
                gradient.into_buffer_arg(),
                decay.into_buffer_arg(),
                moved.buffer(),
                new_velocities.buffer(),
                length,
                momentum as f32,
                rate as f32,
            );
        }
        let ([moved], [velocities]) = (moved.into(), new_velocities.into());
        (moved, velocities)
    }

    fn ema(values: FloatTensor<Self>, target: FloatTensor<Self>, keep: f64) -> FloatTensor<Self> {
        if !is_f32(&values) {
            return plain::ema::<Self>(values, target, keep);
        }
        let [values, target] = [values, target].map(into_contiguous);
        let (length, count, units) = groups(&values);
        let moved = SharedBuffer::new(&values, values.shape(), 1);
        // SAFETY: as above.
        unsafe {
            ema::launch_unchecked(
                &values.client.clone(),
                count,
                units,
                values.into_buffer_arg(),
                target.into_buffer_arg(),
                moved.buffer(),
                length,
                keep as f32,
                (1.0 - keep) as f32,
            );
        }
        let [moved] = moved.into();
        moved
    }
}
