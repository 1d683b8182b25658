//! The host's side of the tiling: memory layout and launches.

use burn::{backend::TensorMetadata, tensor::Shape};
use burn_cubecl::{
    kernel::into_contiguous,
    ops::{permute_nchw_to_nhwc, permute_nhwc_to_nchw},
    tensor::CubeTensor,
};
use cubecl::prelude::*;

use super::extent::{ExtentLaunch, Plan, Stage};
use crate::gpu::{SharedBuffer, UNITS};

/// Values that an invocation sums.
const STEPS: usize = 256;

/// Channels per workgroup in the channels-last layout.
const LANES: usize = 32;

/// Memory layout of a tensor.
#[derive(Clone, Copy)]
pub struct Layout {
    /// NHWC rather than NCHW.
    pub has_channels_last: bool,
}

impl Layout {
    pub fn of(x: &CubeTensor) -> Self {
        let has_channels_last = !x.is_contiguous() && permute_nchw_to_nhwc(x.clone()).is_contiguous();
        Self { has_channels_last }
    }

    /// Returns the tensor in this layout: itself or a copy.
    pub fn lay_out(self, x: CubeTensor) -> CubeTensor {
        if self.has_channels_last {
            permute_nhwc_to_nchw(into_contiguous(permute_nchw_to_nhwc(x)))
        } else {
            into_contiguous(x)
        }
    }

    /// Allocates `count` tensors of the shape and layout of `x`.
    pub fn empty(self, x: &CubeTensor, count: usize) -> SharedBuffer {
        let [batch, channels, height, width] = x.shape().dims();
        if self.has_channels_last {
            let mut shared = SharedBuffer::new(x, Shape::new([batch, height, width, channels]), count);
            shared.tensors = shared.tensors.into_iter().map(permute_nhwc_to_nchw).collect();
            shared
        } else {
            SharedBuffer::new(x, x.shape(), count)
        }
    }
}

/// How a tensor is divided among workgroups.
pub struct Tiling {
    pub layout: Layout,
    pub dims: [usize; 4],
    pub lanes: usize,
    /// Values of a channel per workgroup.
    pub part: usize,
    pub parts: usize,
    pub epsilon: f32,
}

impl Tiling {
    pub fn of(x: &CubeTensor, epsilon: f64) -> Self {
        let layout = Layout::of(x);
        let dims: [usize; 4] = x.shape().dims();
        let lanes = if layout.has_channels_last { LANES } else { 1 };
        let part = UNITS / lanes * STEPS;
        let parts = (dims[0] * dims[2] * dims[3]).div_ceil(part);
        Self { layout, dims, lanes, part, parts, epsilon: epsilon as f32 }
    }

    /// Allocates two results per channel: the final ones, followed by those of the parts if there are several.
    pub fn results(&self, x: &CubeTensor) -> SharedBuffer {
        let slots = if self.parts == 1 { 1 } else { 1 + self.parts };
        SharedBuffer::new(x, Shape::new([self.dims[1]]), 2 * slots)
    }

    pub fn extent(&self, row: usize) -> ExtentLaunch {
        let [batch, channels, height, width] = self.dims;
        let plane = height * width;
        let (channel_stride, pixel_stride) = if self.layout.has_channels_last { (1, channels) } else { (plane, 1) };
        let image_stride = channels * plane;
        ExtentLaunch::new(
            channels,
            batch * plane,
            self.part,
            plane,
            image_stride,
            channel_stride,
            pixel_stride,
            row,
            self.epsilon,
        )
    }

    /// Calls `launch` for each stage.
    pub fn run(&self, launch: impl Fn(CubeCount, CubeDim, Plan)) {
        let stages: &[Stage] = if self.parts == 1 { &[Stage::Whole] } else { &[Stage::Sums, Stage::Result] };
        for stage in stages.iter().copied() {
            let groups = self.dims[1].div_ceil(self.lanes);
            let count = CubeCount::Static(groups as u32, self.parts as u32, 1);
            let plan = Plan { stage, lanes: self.lanes };
            launch(count, CubeDim::new_2d(self.lanes as u32, plan.rows() as u32), plan);
        }
    }
}
