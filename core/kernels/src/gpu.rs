//! What the fused operations on GPUs share. Kernels are written in CubeCL: for CUDA, and for Vulkan and WebGPU via
//! WGSL.
//!
//! In the browser a small network's step is bound by kernel launches, so each operation takes one or two. Kernels stay
//! within the limits of every browser: workgroups of 256 invocations, 16 kB of shared memory, and eight buffers
//! including that of the scalars. The order of sums is fixed, so runs are reproducible.

use burn::tensor::{DType, Shape};
use burn_cubecl::{kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{prelude::*, server::MemoryLayoutDescriptor};

/// Invocations per workgroup.
pub const UNITS: usize = 256;

/// Multiply-accumulates up to which a product uses a fused kernel: about a tenth of a millisecond on a GPU, which is
/// what the launches and copies would take that it saves. Larger products are left to Burn.
pub const SMALL: usize = 1 << 27;

/// Computes both sums over the invocations of a workgroup that have the same lane, out of `lanes`.
#[cube]
pub fn workgroup_sum(first: f32, second: f32, #[comptime] lanes: usize) -> (f32, f32) {
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

/// Returns whether a tensor's dtype has fused kernels.
pub fn is_f32(x: &CubeTensor) -> bool {
    x.dtype == DType::F32
}

/// Tensors of one shape in one buffer, which takes one binding of a kernel.
pub struct SharedBuffer {
    /// The tensors, in the order of the buffer.
    pub tensors: Vec<CubeTensor>,
}

impl SharedBuffer {
    /// Allocates `count` tensors with the device and dtype of `like`, uninitialised.
    pub fn new(like: &CubeTensor, shape: Shape, count: usize) -> Self {
        let layout = MemoryLayoutDescriptor::contiguous(shape.clone(), like.dtype.size());
        let tensors = like.client.empty_tensors(vec![layout; count]).into_iter().map(|place| {
            let (client, device) = (like.client.clone(), like.device.clone());
            CubeTensor::new_contiguous(client, device, shape.clone(), place.memory, like.dtype)
        });
        Self { tensors: tensors.collect() }
    }

    /// Returns the whole buffer.
    pub fn buffer(&self) -> BufferArg {
        whole_buffer(&self.tensors[0])
    }

    /// Returns the number of values from the start of one tensor to the next.
    pub fn stride(&self) -> usize {
        self.tensors.get(1).map_or(0, buffer_offset)
    }
}

/// Returns the whole buffer that `tensor` is a part of.
pub fn whole_buffer(tensor: &CubeTensor) -> BufferArg {
    let mut whole = tensor.handle.clone();
    (whole.offset_start, whole.offset_end) = (None, None);
    let length = whole.size() as usize / tensor.dtype.size();
    // SAFETY: the length is the buffer's own.
    unsafe { BufferArg::from_raw_parts(whole, length) }
}

/// Returns whether both tensors are parts of one buffer.
pub fn share_a_buffer(one: &CubeTensor, other: &CubeTensor) -> bool {
    let [one, other] = [one, other].map(|tensor| tensor.handle.clone().binding().memory.id());
    one == other
}

/// Returns where `tensor` starts in its [`whole_buffer`], in values.
pub fn buffer_offset(tensor: &CubeTensor) -> usize {
    tensor.handle.offset_start.unwrap_or(0) as usize / tensor.dtype.size()
}

/// Returns the tensor's buffer, made contiguous if it is not.
pub fn contiguous_buffer(tensor: CubeTensor) -> BufferArg {
    into_contiguous(tensor).into_buffer_arg()
}

impl<const N: usize> From<SharedBuffer> for [CubeTensor; N] {
    /// Returns the first `N` tensors.
    fn from(shared: SharedBuffer) -> Self {
        let mut tensors = shared.tensors.into_iter();
        std::array::from_fn(|_| tensors.next().expect("the buffer has at least N tensors"))
    }
}
