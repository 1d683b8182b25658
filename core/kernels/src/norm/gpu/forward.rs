//! The forward pass.

use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    extent::{Extent, Plan, Stage, own_channel, sum_parts, write_results},
    tiling::Tiling,
};
use crate::{
    gpu::workgroup_sum,
    norm::types::{Moments, NormInput, NormOutput},
};

#[cube(launch_unchecked)]
fn normalise(
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
    shortcut: ComptimeOption<&[f32]>,
    output: &mut [f32],
    moments: &mut [f32],
    extent: Extent,
    #[comptime] relu: bool,
    #[comptime] plan: Plan,
) {
    let rows = comptime!(plan.rows());
    let (channel, exists) = own_channel(&extent, plan.lanes);
    let start = CUBE_POS_Y as usize * extent.part + UNIT_POS_Y as usize;
    let end = extent.part_end();
    // Sums of differences from the channel's first value, which is near the mean, to avoid cancellation.
    let first = x[channel * extent.channel_stride];
    let (sum, squares) = if comptime!(plan.stage == Stage::Result) {
        sum_parts(&*moments, channel, &extent, plan.lanes)
    } else {
        let mut sum = 0.0f32;
        let mut squares = 0.0f32;
        let mut sample = start;
        while sample < end {
            let distance = x[extent.at(channel, sample)] - first;
            sum += distance;
            squares += distance * distance;
            sample += rows;
        }
        workgroup_sum(sum, squares, plan.lanes)
    };
    let writes_results = exists && UNIT_POS_Y == 0;
    if comptime!(plan.stage == Stage::Sums) {
        if writes_results {
            write_results(moments, sum, squares, CUBE_POS_Y as usize + 1, channel, &extent);
        }
    } else {
        let count = f32::cast_from(extent.samples);
        let distance = sum / count;
        let mean = first + distance;
        let variance = squares / count - distance * distance;
        let variance = if variance < 0.0f32 { 0.0f32 } else { variance };
        if writes_results && CUBE_POS_Y == 0 {
            write_results(moments, mean, variance, 0usize, channel, &extent);
        }
        let scale = gamma[channel] / (variance + extent.epsilon).sqrt();
        let shift = beta[channel];
        if exists {
            let mut sample = start;
            while sample < end {
                let at = extent.at(channel, sample);
                let mut value = (x[at] - mean) * scale + shift;
                // Keeps NaN, which shows that a run has diverged.
                if comptime!(relu) {
                    value = if value < 0.0f32 { 0.0f32 } else { value };
                }
                #[comptime]
                match shortcut {
                    ComptimeOption::Some(shortcut) => {
                        value += shortcut[at];
                        value = if value < 0.0f32 { 0.0f32 } else { value };
                    }
                    ComptimeOption::None => {}
                }
                output[at] = value;
                sample += rows;
            }
        }
    }
}

/// See [`NormBackend::norm`](crate::norm::NormBackend::norm), for f32.
pub fn forward(input: NormInput<CubeBackend>, epsilon: f64) -> NormOutput<CubeBackend> {
    let NormInput { x, gamma, beta, relu, shortcut } = input;
    let tiling = Tiling::of(&x, epsilon);
    let x = tiling.layout.lay_out(x);
    let shortcut = shortcut.into_option().map(|shortcut| tiling.layout.lay_out(shortcut));
    let [gamma, beta] = [gamma, beta].map(into_contiguous);
    let output = tiling.layout.empty(&x, 1);
    let moments = tiling.results(&x);
    tiling.run(|count, units, plan| {
        // SAFETY: the kernel stays within the extent, which is that of the tensors.
        unsafe {
            normalise::launch_unchecked(
                &x.client,
                count,
                units,
                x.clone().into_buffer_arg(),
                gamma.clone().into_buffer_arg(),
                beta.clone().into_buffer_arg(),
                shortcut.clone().map(CubeTensor::into_buffer_arg).into(),
                output.buffer(),
                moments.buffer(),
                tiling.extent(moments.stride()),
                relu,
                plan,
            );
        }
    });
    let [output] = output.into();
    let [mean, variance] = moments.into();
    NormOutput { output, moments: Moments { mean, variance } }
}
