//! The update of the running statistics.

use burn::backend::TensorMetadata;
use burn_cubecl::CubeBackend;
use cubecl::prelude::*;

use crate::{
    gpu::{SharedBuffer, UNITS, buffer_offset, contiguous_buffer, whole_buffer},
    norm::types::Moments,
};

/// Moves running statistics towards the batch's, averaged over its groups.
#[cube(launch_unchecked)]
fn move_running(
    mean: &[f32],
    variance: &[f32],
    moments: &[f32],
    moved: &mut [f32],
    channels: usize,
    groups: usize,
    mean_at: usize,
    variance_at: usize,
    row: usize,
    momentum: f32,
    unbias: f32,
) {
    let channel = ABSOLUTE_POS;
    if channel < channels {
        let mut of_mean = 0.0f32;
        let mut of_variance = 0.0f32;
        for group in 0..groups {
            of_mean += moments[mean_at + group * channels + channel];
            of_variance += moments[variance_at + group * channels + channel];
        }
        let share = momentum / f32::cast_from(groups);
        let keep = 1.0f32 - momentum;
        moved[channel] = mean[channel] * keep + of_mean * share;
        moved[row + channel] = variance[channel] * keep + of_variance * unbias * share;
    }
}

/// See [`move_running`](crate::norm::move_running), for f32.
pub fn run(
    running: Moments<CubeBackend>,
    batch: Moments<CubeBackend>,
    momentum: f64,
    unbias: f64,
) -> Moments<CubeBackend> {
    let shape = running.mean.shape();
    let channels = shape.num_elements();
    let moved = SharedBuffer::new(&running.mean, shape, 2);
    // SAFETY: the counts are the tensors'; mean and variance share a buffer, as the forward pass allocates them.
    unsafe {
        move_running::launch_unchecked(
            &moved.tensors[0].client,
            CubeCount::Static(channels.div_ceil(UNITS) as u32, 1, 1),
            CubeDim::new_1d(UNITS as u32),
            contiguous_buffer(running.mean),
            contiguous_buffer(running.variance),
            whole_buffer(&batch.mean),
            moved.buffer(),
            channels,
            batch.mean.shape().num_elements() / channels,
            buffer_offset(&batch.mean),
            buffer_offset(&batch.variance),
            moved.stride(),
            momentum as f32,
            unbias as f32,
        );
    }
    let [mean, variance] = moved.into();
    Moments { mean, variance }
}
