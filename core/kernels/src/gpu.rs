//! The fused forms on GPUs, in CubeCL: for CUDA, and for Vulkan and WebGPU by WGSL.
//!
//! In the browser nearly the whole cost of a small network's step is that of launching kernels, whatever they compute,
//! so few of them are launched. They keep to what every browser grants: workgroups of 256 invocations, 16 kB of shared
//! memory, eight buffers with that of the scalars. Sums run in one order, so a run repeats.

use burn::tensor::{DType, Shape};
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{prelude::*, server::MemoryLayoutDescriptor};

/// Invocations of a workgroup.
pub const UNITS: usize = 256;

/// Multiply-accumulates up to which a product is computed here, in one launch: some tenth of a millisecond on a GPU,
/// about what the launches and copies take that it saves. Larger ones are Burn's.
pub const SMALL: usize = 1 << 27;

/// Both sums over a workgroup's invocations that have the same place among its `lanes`.
#[cube]
pub fn sum_up(first: f32, second: f32, #[comptime] lanes: usize) -> (f32, f32) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * UNITS));
    let unit = UNIT_POS as usize;
    shared[unit] = first;
    shared[unit + comptime!(UNITS)] = second;
    sync_cube();
    #[unroll]
    for level in 0..comptime!((UNITS / lanes).ilog2()) {
        let step = comptime!(UNITS >> (level + 1));
        if unit < step {
            let first = shared[unit] + shared[unit + step];
            let second = shared[unit + comptime!(UNITS)] + shared[unit + step + comptime!(UNITS)];
            shared[unit] = first;
            shared[unit + comptime!(UNITS)] = second;
        }
        sync_cube();
    }
    let lane = unit % lanes;
    (shared[lane], shared[lane + comptime!(UNITS)])
}

/// Whether there is a fused form for a tensor; other precisions take the plain one.
pub fn is_f32(x: &CubeTensor) -> bool {
    x.dtype == DType::F32
}

/// Tensors of one shape, side by side in a buffer that a kernel binds as one.
pub struct SharedBuffer {
    /// All of them.
    pub tensors: Vec<CubeTensor>,
}

impl SharedBuffer {
    /// `count` tensors on the device of `like`, in its precision, with any values.
    pub fn new(like: &CubeTensor, shape: Shape, count: usize) -> Self {
        let layout = MemoryLayoutDescriptor::contiguous(shape.clone(), like.dtype.size());
        let tensors = like.client.empty_tensors(vec![layout; count]).into_iter().map(|place| {
            let (client, device) = (like.client.clone(), like.device.clone());
            CubeTensor::new_contiguous(client, device, shape.clone(), place.memory, like.dtype)
        });
        Self { tensors: tensors.collect() }
    }

    /// The buffer of all of them.
    pub fn buffer(&self) -> BufferArg {
        whole_buffer(&self.tensors[0])
    }

    /// Values from one tensor to the next.
    pub fn stride(&self) -> usize {
        self.tensors.get(1).map_or(0, place)
    }
}

/// The buffer that `tensor` has a part of.
pub fn whole_buffer(tensor: &CubeTensor) -> BufferArg {
    let mut whole = tensor.handle.clone();
    (whole.offset_start, whole.offset_end) = (None, None);
    let length = whole.size() as usize / tensor.dtype.size();
    // SAFETY: the length is the buffer's own.
    unsafe { BufferArg::from_raw_parts(whole, length) }
}

/// Whether both tensors have parts of one buffer.
pub fn share_a_buffer(one: &CubeTensor, other: &CubeTensor) -> bool {
    let [one, other] = [one, other].map(|tensor| tensor.handle.clone().binding().memory.id());
    one == other
}

/// Where `tensor` begins in its [`whole_buffer`], in values.
pub fn place(tensor: &CubeTensor) -> usize {
    tensor.handle.offset_start.unwrap_or(0) as usize / tensor.dtype.size()
}

/// The buffer of a contiguous tensor, which is copied if it is not.
pub fn values(tensor: CubeTensor) -> BufferArg {
    into_contiguous(tensor).into_buffer_arg()
}

impl<const N: usize> From<SharedBuffer> for [CubeTensor; N] {
    /// The first of the tensors.
    fn from(joint: SharedBuffer) -> Self {
        let mut tensors = joint.tensors.into_iter();
        std::array::from_fn(|_| tensors.next().expect("there are as many as were asked for"))
    }
}
