//! The device's side of the tiling, shared by the kernels.

use cubecl::prelude::*;

use crate::gpu::{UNITS, workgroup_sum};

/// What a launch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Sums, then writes the result.
    Whole,
    /// Sums the workgroup's part of the channel.
    Sums,
    /// Adds the parts and writes the result.
    Result,
}

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    pub stage: Stage,
    /// Channels per workgroup.
    pub lanes: usize,
}

impl Plan {
    /// Returns the rows of a workgroup, whose invocations share a channel.
    pub fn rows(self) -> usize {
        UNITS / self.lanes
    }
}

/// Sizes and strides of a tensor, for the kernels.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub struct Extent {
    pub channels: usize,
    /// Values per channel.
    pub samples: usize,
    /// Values of a channel per workgroup.
    pub part: usize,
    /// Pixels per plane.
    pub plane: usize,
    pub image_stride: usize,
    pub channel_stride: usize,
    pub pixel_stride: usize,
    /// Values from one channel-wise result to the next one.
    pub row: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

#[cube]
impl Extent {
    /// Returns the offset of a channel's value.
    pub fn at(&self, channel: usize, sample: usize) -> usize {
        let image = sample / self.plane;
        image * self.image_stride + (sample - image * self.plane) * self.pixel_stride + channel * self.channel_stride
    }

    /// Returns the end of the workgroup's part of its channel.
    pub fn part_end(&self) -> usize {
        let end = (CUBE_POS_Y as usize + 1) * self.part;
        let samples = self.samples;
        if end < samples { end } else { samples }
    }
}

/// Returns the channel of this invocation and whether it exists: past the last channel, invocations read that one and
/// write nothing.
#[cube]
pub fn own_channel(extent: &Extent, #[comptime] lanes: usize) -> (usize, bool) {
    let channel = CUBE_POS_X as usize * lanes + UNIT_POS_X as usize;
    let exists = channel < extent.channels;
    let last = extent.channels - 1;
    let channel = if exists { channel } else { last };
    (channel, exists)
}

/// Sums the results of all parts of this channel: results 2 and 3 are those of the first part, and so on.
#[cube]
pub fn sum_parts(results: &[f32], channel: usize, extent: &Extent, #[comptime] lanes: usize) -> (f32, f32) {
    let mut first = 0.0f32;
    let mut second = 0.0f32;
    let mut part = UNIT_POS_Y as usize;
    while part < CUBE_COUNT_Y as usize {
        let at = 2 * (part + 1) * extent.row + channel;
        first += results[at];
        second += results[at + extent.row];
        part += comptime!(UNITS / lanes);
    }
    workgroup_sum(first, second, lanes)
}

/// Writes two results of a channel: the final ones to `slot` 0, those of the parts to the others.
#[cube]
pub fn write_results(results: &mut [f32], first: f32, second: f32, slot: usize, channel: usize, extent: &Extent) {
    let at = 2 * slot * extent.row + channel;
    results[at] = first;
    results[at + extent.row] = second;
}
