//! The backward pass.

use burn::backend::{TensorMetadata, ops::FloatTensorOps};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    extent::{Extent, Plan, Stage, own_channel, sum_parts, write_results},
    tiling::Tiling,
};
use crate::{
    gpu::{buffer_offset, share_a_buffer, whole_buffer, workgroup_sum},
    norm::types::{Moments, NormGradients, NormSaved},
    pack::PackBackend,
};

/// Returns the gradient before the last ReLU, if there is one: zero where its output is.
#[cube]
fn last_relu_gradient(output: &ComptimeOption<&[f32]>, gradient: &[f32], at: usize) -> f32 {
    let value = gradient[at];
    #[comptime]
    match output {
        ComptimeOption::Some(output) => {
            if output[at] <= 0.0f32 {
                0.0f32
            } else {
                value
            }
        }
        ComptimeOption::None => value,
    }
}

/// Returns the gradient before the first ReLU, if there is one, given its input.
#[cube]
fn first_relu_gradient(gradient: f32, value: f32, #[comptime] relu: bool) -> f32 {
    if comptime!(relu) && value <= 0.0f32 { 0.0f32 } else { gradient }
}

/// Writes the gradient of `x` to `gradients`, that of the shortcut, if there is one, `shortcut_at` values further, and
/// those of beta and gamma to `sums`. The first ReLU's input is recomputed from `x`.
#[cube(launch_unchecked)]
fn normalise_backward(
    x: &[f32],
    output: ComptimeOption<&[f32]>,
    gradient: &[f32],
    affine: &[f32],
    moments: &[f32],
    gradients: &mut [f32],
    sums: &mut [f32],
    extent: Extent,
    gamma_at: usize,
    beta_at: usize,
    mean_at: usize,
    variance_at: usize,
    shortcut_at: usize,
    #[comptime] relu: bool,
    #[comptime] plan: Plan,
) {
    let rows = comptime!(plan.rows());
    let (channel, exists) = own_channel(&extent, plan.lanes);
    let start = CUBE_POS_Y as usize * extent.part + UNIT_POS_Y as usize;
    let end = extent.part_end();
    let mean = moments[mean_at + channel];
    let deviation = (moments[variance_at + channel] + extent.epsilon).sqrt();
    let scale = affine[gamma_at + channel] / deviation;
    let shift = affine[beta_at + channel];
    // Sums of the gradient and of the gradient times the normalised input.
    let (sum, product) = if comptime!(plan.stage == Stage::Result) {
        sum_parts(&*sums, channel, &extent, plan.lanes)
    } else {
        let mut sum = 0.0f32;
        let mut product = 0.0f32;
        let mut sample = start;
        while sample < end {
            let at = extent.at(channel, sample);
            let distance = x[at] - mean;
            let value = last_relu_gradient(&output, gradient, at);
            let value = first_relu_gradient(value, distance * scale + shift, relu);
            sum += value;
            product += value * distance;
            sample += rows;
        }
        workgroup_sum(sum, product / deviation, plan.lanes)
    };
    let writes_results = exists && UNIT_POS_Y == 0;
    if comptime!(plan.stage == Stage::Sums) {
        if writes_results {
            write_results(sums, sum, product, CUBE_POS_Y as usize + 1, channel, &extent);
        }
    } else {
        if writes_results && CUBE_POS_Y == 0 {
            write_results(sums, sum, product, 0usize, channel, &extent);
        }
        let count = f32::cast_from(extent.samples);
        let mean_gradient = sum / count;
        let correlation = product / count / deviation;
        if exists {
            let mut sample = start;
            while sample < end {
                let at = extent.at(channel, sample);
                let distance = x[at] - mean;
                let value = last_relu_gradient(&output, gradient, at);
                #[comptime]
                match output {
                    ComptimeOption::Some(_) => gradients[shortcut_at + at] = value,
                    ComptimeOption::None => {}
                }
                let value = first_relu_gradient(value, distance * scale + shift, relu);
                gradients[at] = scale * (value - mean_gradient - correlation * distance);
                sample += rows;
            }
        }
    }
}

/// Returns the vectors in one buffer, since there is no binding left for a second one.
fn in_one_buffer(vectors: [CubeTensor; 2]) -> [CubeTensor; 2] {
    let vectors = vectors.map(into_contiguous);
    if share_a_buffer(&vectors[0], &vectors[1]) {
        return vectors;
    }
    let channels = vectors[0].shape().num_elements();
    let both = CubeBackend::float_cat(vectors.into(), 0);
    [0, channels].map(|start| CubeBackend::part(both.clone(), start, [channels].into()))
}

/// See [`NormBackward::norm_backward`](crate::norm::NormBackward::norm_backward), for f32.
pub fn backward(saved: NormSaved<CubeBackend>, gradient: CubeTensor) -> NormGradients<CubeBackend> {
    let NormSaved { x, gamma, beta, relu, moments: Moments { mean, variance }, epsilon, output } = saved;
    let tiling = Tiling::of(&x, epsilon);
    let [x, gradient] = [x, gradient].map(|tensor| tiling.layout.lay_out(tensor));
    let output = output.map(|output| tiling.layout.lay_out(output));
    let [gamma, beta] = if relu { in_one_buffer([gamma, beta]) } else { [gamma, beta].map(into_contiguous) };
    let gradients = tiling.layout.empty(&x, if output.is_some() { 2 } else { 1 });
    let sums = tiling.results(&x);
    tiling.run(|count, units, plan| {
        // SAFETY: as in the forward pass, which allocates mean and variance in one buffer.
        unsafe {
            normalise_backward::launch_unchecked(
                &x.client,
                count,
                units,
                x.clone().into_buffer_arg(),
                output.clone().map(CubeTensor::into_buffer_arg).into(),
                gradient.clone().into_buffer_arg(),
                whole_buffer(&gamma),
                whole_buffer(&mean),
                gradients.buffer(),
                sums.buffer(),
                tiling.extent(sums.stride()),
                buffer_offset(&gamma),
                // Unused without the ReLU.
                if relu { buffer_offset(&beta) } else { buffer_offset(&gamma) },
                buffer_offset(&mean),
                buffer_offset(&variance),
                gradients.stride(),
                relu,
                plan,
            );
        }
    });
    let [beta, gamma] = sums.into();
    let mut gradients = gradients.tensors.into_iter();
    let x = gradients.next().expect("the first tensor is the gradient of x");
    NormGradients { x, gamma, beta, shortcut: gradients.next() }
}
