//! Batch norm: see [`crate::norm`].
//!
//! A workgroup takes a channel, or some channels side by side where those of a pixel are neighbours in memory, and sums
//! over it; where it can read all of it in little time it goes on to write the result in the same launch. Larger
//! channels are summed in parts by one launch, which another one puts together before it writes.

use burn::{
    backend::{TensorMetadata, ops::FloatTensorOps, tensor::FloatTensor},
    tensor::Shape,
};
use burn_cubecl::{
    CubeBackend,
    kernel::into_contiguous,
    ops::{permute_nchw_to_nhwc, permute_nhwc_to_nchw},
    tensor::CubeTensor,
};
use cubecl::prelude::*;

use super::{Forward, Gradient, NormBackend, plain};
use crate::{
    gpu::{SharedBuffer, UNITS, is_f32, place, share_a_buffer, sum_up, values, whole_buffer},
    pack::PackBackend,
};

/// Values that an invocation sums one after the other.
const STEPS: usize = 256;

/// Channels side by side in a workgroup, where a pixel's channels are neighbours in memory.
const LANES: usize = 32;

/// What a launch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Sums, then writes the result.
    Whole,
    /// Sums its part of the channel.
    Sums,
    /// Adds the parts up and writes the result.
    Result,
}

/// How workgroups share a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    stage: Stage,
    /// Channels side by side.
    lanes: usize,
}

/// A tensor of planes, as the kernels see it.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Extent {
    channels: usize,
    /// Values of a channel.
    samples: usize,
    /// Values of a channel that a workgroup takes.
    part: usize,
    /// Pixels of a plane.
    plane: usize,
    image_stride: usize,
    channel_stride: usize,
    pixel_stride: usize,
    /// Values from one channel-wise result to the next.
    row: usize,
    /// Added to the variance.
    epsilon: f32,
}

#[cube]
impl Extent {
    /// Where a channel's value lies.
    fn at(&self, channel: usize, sample: usize) -> usize {
        let image = sample / self.plane;
        image * self.image_stride + (sample - image * self.plane) * self.pixel_stride + channel * self.channel_stride
    }

    /// The workgroup's part of its channel ends here.
    fn part_end(&self) -> usize {
        let end = (CUBE_POS_Y as usize + 1) * self.part;
        let samples = self.samples;
        if end < samples { end } else { samples }
    }
}

/// The channel of this invocation, and whether there is one: a surplus one reads the last channel and writes nothing.
#[cube]
fn own_channel(extent: &Extent, #[comptime] lanes: usize) -> (usize, bool) {
    let channel = CUBE_POS_X as usize * lanes + UNIT_POS_X as usize;
    let exists = channel < extent.channels;
    let last = extent.channels - 1;
    let channel = if exists { channel } else { last };
    (channel, exists)
}

/// The sums of all parts of this channel: results 2 and 3 are those of the first part, and so on.
#[cube]
fn sum_parts(results: &[f32], channel: usize, extent: &Extent, #[comptime] lanes: usize) -> (f32, f32) {
    let mut first = 0.0f32;
    let mut second = 0.0f32;
    let mut part = UNIT_POS_Y as usize;
    while part < CUBE_COUNT_Y as usize {
        let at = 2 * (part + 1) * extent.row + channel;
        first += results[at];
        second += results[at + extent.row];
        part += comptime!(UNITS / lanes);
    }
    sum_up(first, second, lanes)
}

/// Writes two results of a channel; `slot` 0 is for the final ones, the others are for those of the parts.
#[cube]
fn write_results(results: &mut [f32], first: f32, second: f32, slot: usize, channel: usize, extent: &Extent) {
    let at = 2 * slot * extent.row + channel;
    results[at] = first;
    results[at + extent.row] = second;
}

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
    let rows = comptime!(UNITS / plan.lanes);
    let (channel, exists) = own_channel(&extent, plan.lanes);
    let start = CUBE_POS_Y as usize * extent.part + UNIT_POS_Y as usize;
    let end = extent.part_end();
    // Sums of the distances from the channel's first value, which lies near the mean: squares then cancel little.
    let shift = x[channel * extent.channel_stride];
    let (sum, squares) = if comptime!(plan.stage == Stage::Result) {
        sum_parts(&*moments, channel, &extent, plan.lanes)
    } else {
        let mut sum = 0.0f32;
        let mut squares = 0.0f32;
        let mut sample = start;
        while sample < end {
            let distance = x[extent.at(channel, sample)] - shift;
            sum += distance;
            squares += distance * distance;
            sample += rows;
        }
        sum_up(sum, squares, plan.lanes)
    };
    let writes_results = exists && UNIT_POS_Y == 0;
    if comptime!(plan.stage == Stage::Sums) {
        if writes_results {
            write_results(moments, sum, squares, CUBE_POS_Y as usize + 1, channel, &extent);
        }
    } else {
        let count = f32::cast_from(extent.samples);
        let distance = sum / count;
        let mean = shift + distance;
        let variance = squares / count - distance * distance;
        let variance = if variance < 0.0f32 { 0.0f32 } else { variance };
        if writes_results && CUBE_POS_Y == 0 {
            write_results(moments, mean, variance, 0usize, channel, &extent);
        }
        let scale = gamma[channel] / (variance + extent.epsilon).sqrt();
        let offset = beta[channel];
        if exists {
            let mut sample = start;
            while sample < end {
                let at = extent.at(channel, sample);
                let mut value = (x[at] - mean) * scale + offset;
                // NaN passes: a diverged run must show.
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

/// The gradient behind the last ReLU: none where it made a zero.
#[cube]
fn let_through(output: &ComptimeOption<&[f32]>, gradient: &[f32], at: usize) -> f32 {
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

/// A gradient behind the ReLU of a norm's value, if there is one.
#[cube]
fn behind_first(gradient: f32, value: f32, #[comptime] relu: bool) -> f32 {
    if comptime!(relu) && value <= 0.0f32 { 0.0f32 } else { gradient }
}

/// Writes the gradient of the input, and `shortcut_at` values further that of the shortcut, if it has one; in
/// `sums` those of beta and gamma. What a ReLU before the sum held back follows from the input.
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
    let rows = comptime!(UNITS / plan.lanes);
    let (channel, exists) = own_channel(&extent, plan.lanes);
    let start = CUBE_POS_Y as usize * extent.part + UNIT_POS_Y as usize;
    let end = extent.part_end();
    let mean = moments[mean_at + channel];
    let deviation = (moments[variance_at + channel] + extent.epsilon).sqrt();
    let scale = affine[gamma_at + channel] / deviation;
    let shift = affine[beta_at + channel];
    // Of the gradient, and of the gradient times the normalised input.
    let (sum, product) = if comptime!(plan.stage == Stage::Result) {
        sum_parts(&*sums, channel, &extent, plan.lanes)
    } else {
        let mut sum = 0.0f32;
        let mut product = 0.0f32;
        let mut sample = start;
        while sample < end {
            let at = extent.at(channel, sample);
            let distance = x[at] - mean;
            let value = let_through(&output, gradient, at);
            let value = behind_first(value, distance * scale + shift, relu);
            sum += value;
            product += value * distance;
            sample += rows;
        }
        sum_up(sum, product / deviation, plan.lanes)
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
        let offset = sum / count;
        let slope = product / count / deviation;
        if exists {
            let mut sample = start;
            while sample < end {
                let at = extent.at(channel, sample);
                let distance = x[at] - mean;
                let value = let_through(&output, gradient, at);
                #[comptime]
                match output {
                    ComptimeOption::Some(_) => gradients[shortcut_at + at] = value,
                    ComptimeOption::None => {}
                }
                let value = behind_first(value, distance * scale + shift, relu);
                gradients[at] = scale * (value - offset - slope * distance);
                sample += rows;
            }
        }
    }
}

/// Moves running statistics towards the batch's, which it averages over the groups that have their own.
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

/// How a tensor lies in memory.
#[derive(Clone, Copy)]
struct Layout {
    /// The channels of a pixel are neighbours, not the pixels of a channel.
    has_channels_last: bool,
}

impl Layout {
    fn of(x: &CubeTensor) -> Self {
        let has_channels_last = !x.is_contiguous() && permute_nchw_to_nhwc(x.clone()).is_contiguous();
        Self { has_channels_last }
    }

    /// The tensor in this layout: itself, or a copy.
    fn lay_out(self, x: CubeTensor) -> CubeTensor {
        if self.has_channels_last {
            permute_nhwc_to_nchw(into_contiguous(permute_nchw_to_nhwc(x)))
        } else {
            into_contiguous(x)
        }
    }

    /// `count` tensors of the shape and layout of `x`.
    fn empty(self, x: &CubeTensor, count: usize) -> SharedBuffer {
        let [batch, channels, height, width] = x.shape().dims();
        if self.has_channels_last {
            let mut joint = SharedBuffer::new(x, Shape::new([batch, height, width, channels]), count);
            joint.tensors = joint.tensors.into_iter().map(permute_nhwc_to_nchw).collect();
            joint
        } else {
            SharedBuffer::new(x, x.shape(), count)
        }
    }
}

/// A tensor's share-out among workgroups.
struct Schedule {
    layout: Layout,
    dims: [usize; 4],
    lanes: usize,
    parts: usize,
    epsilon: f32,
}

impl Schedule {
    fn of(x: &CubeTensor, epsilon: f64) -> Self {
        let layout = Layout::of(x);
        let dims: [usize; 4] = x.shape().dims();
        let lanes = if layout.has_channels_last { LANES } else { 1 };
        let parts = (dims[0] * dims[2] * dims[3]).div_ceil(UNITS / lanes * STEPS);
        Self { layout, dims, lanes, parts, epsilon: epsilon as f32 }
    }

    /// Room for two results a channel: the final ones, and before them those of the parts, if there are several.
    fn results(&self, x: &CubeTensor) -> SharedBuffer {
        let slots = if self.parts == 1 { 1 } else { 1 + self.parts };
        SharedBuffer::new(x, Shape::new([self.dims[1]]), 2 * slots)
    }

    fn extent(&self, row: usize) -> ExtentLaunch {
        let [batch, channels, height, width] = self.dims;
        let plane = height * width;
        let (channel_stride, pixel_stride) = if self.layout.has_channels_last { (1, channels) } else { (plane, 1) };
        let part = UNITS / self.lanes * STEPS;
        let image_stride = channels * plane;
        ExtentLaunch::new(
            channels,
            batch * plane,
            part,
            plane,
            image_stride,
            channel_stride,
            pixel_stride,
            row,
            self.epsilon,
        )
    }

    /// Calls `launch` for one stage after the other.
    fn run(&self, launch: impl Fn(CubeCount, CubeDim, Plan)) {
        let stages: &[Stage] = if self.parts == 1 { &[Stage::Whole] } else { &[Stage::Sums, Stage::Result] };
        for stage in stages.iter().copied() {
            let groups = self.dims[1].div_ceil(self.lanes);
            let count = CubeCount::Static(groups as u32, self.parts as u32, 1);
            let units = CubeDim::new_2d(self.lanes as u32, (UNITS / self.lanes) as u32);
            launch(count, units, Plan { stage, lanes: self.lanes });
        }
    }
}

fn forward(
    x: CubeTensor,
    gamma: CubeTensor,
    beta: CubeTensor,
    shortcut: Option<CubeTensor>,
    epsilon: f64,
    relu: bool,
) -> Forward<CubeBackend> {
    let schedule = Schedule::of(&x, epsilon);
    let x = schedule.layout.lay_out(x);
    let shortcut = shortcut.map(|shortcut| schedule.layout.lay_out(shortcut));
    let [gamma, beta] = [gamma, beta].map(into_contiguous);
    let output = schedule.layout.empty(&x, 1);
    let moments = schedule.results(&x);
    schedule.run(|count, units, plan| {
        // SAFETY: the extent is that of the tensors, beyond which the kernel accesses nothing.
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
                schedule.extent(moments.stride()),
                relu,
                plan,
            );
        }
    });
    let [output] = output.into();
    let [mean, variance] = moments.into();
    (output, mean, variance)
}

/// The same vectors in one buffer, if they are not yet: for two there is no room.
fn in_one_buffer(vectors: [CubeTensor; 2]) -> [CubeTensor; 2] {
    let vectors = vectors.map(into_contiguous);
    if share_a_buffer(&vectors[0], &vectors[1]) {
        return vectors;
    }
    let channels = vectors[0].shape().num_elements();
    let both = CubeBackend::float_cat(vectors.into(), 0);
    [0, channels].map(|start| CubeBackend::part(both.clone(), start, [channels].into()))
}

/// Gradients of the input, gamma and beta, and of the shortcut, if there was one and the `output` after it is given.
fn backward(
    x: CubeTensor,
    output: Option<CubeTensor>,
    affine: [CubeTensor; 2],
    [mean, variance]: [CubeTensor; 2],
    gradient: CubeTensor,
    epsilon: f64,
    relu: bool,
) -> (Gradient<CubeBackend>, Option<CubeTensor>) {
    let schedule = Schedule::of(&x, epsilon);
    let [x, gradient] = [x, gradient].map(|tensor| schedule.layout.lay_out(tensor));
    let output = output.map(|output| schedule.layout.lay_out(output));
    let [gamma, beta] = if relu { in_one_buffer(affine) } else { affine.map(into_contiguous) };
    let gradients = schedule.layout.empty(&x, if output.is_some() { 2 } else { 1 });
    let sums = schedule.results(&x);
    schedule.run(|count, units, plan| {
        // SAFETY: as in the forward; the moments lie side by side, as the forward has left them.
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
                schedule.extent(sums.stride()),
                place(&gamma),
                // Not looked at without the ReLU.
                if relu { place(&beta) } else { place(&gamma) },
                place(&mean),
                place(&variance),
                gradients.stride(),
                relu,
                plan,
            );
        }
    });
    let [beta, gamma] = sums.into();
    let mut gradients = gradients.tensors.into_iter();
    let x = gradients.next().expect("an input has a gradient");
    ((x, gamma, beta), gradients.next())
}

impl NormBackend for CubeBackend {
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Self> {
        if is_f32(&x) {
            forward(x, gamma, beta, None, epsilon, relu)
        } else {
            plain::norm::<Self>(x, gamma, beta, epsilon, relu)
        }
    }

    fn norm_add_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Self> {
        if is_f32(&x) {
            forward(x, gamma, beta, Some(shortcut), epsilon, relu)
        } else {
            plain::norm_add_relu::<Self>(x, gamma, beta, shortcut, epsilon, relu)
        }
    }

    fn norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Gradient<Self> {
        if is_f32(&x) {
            backward(x, None, [gamma, beta], [mean, variance], gradient, epsilon, relu).0
        } else {
            plain::norm_backward::<Self>(x, gamma, beta, mean, variance, gradient, epsilon, relu)
        }
    }

    fn norm_add_relu_backward(
        x: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if is_f32(&x) {
            let (gradient, shortcut) =
                backward(x, Some(output), [gamma, beta], [mean, variance], gradient, epsilon, relu);
            (gradient.0, gradient.1, gradient.2, shortcut.expect("it was asked for"))
        } else {
            plain::norm_add_relu_backward::<Self>(x, output, gamma, beta, mean, variance, gradient, epsilon, relu)
        }
    }

    fn move_running(
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        momentum: f64,
        unbias: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&mean) {
            return plain::move_running::<Self>(running_mean, running_variance, mean, variance, momentum, unbias);
        }
        let shape = running_mean.shape();
        let channels = shape.num_elements();
        let moved = SharedBuffer::new(&running_mean, shape, 2);
        // SAFETY: the counts are the tensors'; the moments lie side by side, as the forward has left them.
        unsafe {
            move_running::launch_unchecked(
                &moved.tensors[0].client,
                CubeCount::Static(channels.div_ceil(UNITS) as u32, 1, 1),
                CubeDim::new_1d(UNITS as u32),
                values(running_mean),
                values(running_variance),
                whole_buffer(&mean),
                moved.buffer(),
                channels,
                mean.shape().num_elements() / channels,
                place(&mean),
                place(&variance),
                moved.stride(),
                momentum as f32,
                unbias as f32,
            );
        }
        let [mean, variance] = moved.into();
        (mean, variance)
    }
}
