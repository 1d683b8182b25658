//! How workgroups share a tensor, as the kernels see it.

use cubecl::prelude::*;

use crate::gpu::{UNITS, sum_up};

/// What a launch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Sums, then writes the result.
    Whole,
    /// Sums its part of the channel.
    Sums,
    /// Adds the parts up and writes the result.
    Result,
}

/// How workgroups share a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    pub stage: Stage,
    /// Channels side by side.
    pub lanes: usize,
}

/// A tensor of planes, as the kernels see it.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub struct Extent {
    pub channels: usize,
    /// Values of a channel.
    pub samples: usize,
    /// Values of a channel that a workgroup takes.
    pub part: usize,
    /// Pixels of a plane.
    pub plane: usize,
    pub image_stride: usize,
    pub channel_stride: usize,
    pub pixel_stride: usize,
    /// Values from one channel-wise result to the next.
    pub row: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

#[cube]
impl Extent {
    /// Where a channel's value lies.
    pub fn at(&self, channel: usize, sample: usize) -> usize {
        let image = sample / self.plane;
        image * self.image_stride + (sample - image * self.plane) * self.pixel_stride + channel * self.channel_stride
    }

    /// The workgroup's part of its channel ends here.
    pub fn part_end(&self) -> usize {
        let end = (CUBE_POS_Y as usize + 1) * self.part;
        let samples = self.samples;
        if end < samples { end } else { samples }
    }
}

/// The channel of this invocation, and whether there is one: a surplus one reads the last channel and writes nothing.
#[cube]
pub fn own_channel(extent: &Extent, #[comptime] lanes: usize) -> (usize, bool) {
    let channel = CUBE_POS_X as usize * lanes + UNIT_POS_X as usize;
    let exists = channel < extent.channels;
    let last = extent.channels - 1;
    let channel = if exists { channel } else { last };
    (channel, exists)
}

/// The sums of all parts of this channel: results 2 and 3 are those of the first part, and so on.
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
    sum_up(first, second, lanes)
}

/// Writes two results of a channel; `slot` 0 is for the final ones, the others are for those of the parts.
#[cube]
pub fn write_results(results: &mut [f32], first: f32, second: f32, slot: usize, channel: usize, extent: &Extent) {
    let at = 2 * slot * extent.row + channel;
    results[at] = first;
    results[at + extent.row] = second;
}
