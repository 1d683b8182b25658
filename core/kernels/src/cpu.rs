//! What the fused operations on CPUs share: access to Burn's tensors and vectorised loops.

use std::mem::MaybeUninit;

use burn::{
    backend::flex::{FlexTensor, Layout},
    tensor::{Bytes, DType, Element, Shape, bf16},
};
use bytemuck::Pod;
use pulp::Arch;

use crate::threads::for_each_chunk;

/// A type of values in memory. Kernels compute in f32.
pub trait Stored: Element + Pod {
    /// Converts a value to f32, exactly.
    fn widen(self) -> f32;

    /// Rounds to the nearest value, and then to even. NaN stays NaN.
    fn narrow(value: f32) -> Self;

    /// Returns the values themselves if they are f32.
    fn as_f32(values: &[Self]) -> Option<&[f32]>;

    /// Fills `target` with what `write` writes in f32, by way of `memory` if it has to be rounded.
    ///
    /// # Safety
    /// `write` writes every value.
    unsafe fn write_rounded(
        target: &mut [MaybeUninit<Self>],
        memory: &mut Vec<f32>,
        write: impl FnOnce(&mut [MaybeUninit<f32>]),
    );
}

impl Stored for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }

    fn as_f32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }

    unsafe fn write_rounded(
        target: &mut [MaybeUninit<Self>],
        _memory: &mut Vec<f32>,
        write: impl FnOnce(&mut [MaybeUninit<f32>]),
    ) {
        write(target);
    }
}

/// Its own conversions have branches, which prevent vectorisation.
impl Stored for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        /// The highest bit of a NaN's mantissa: the others may be lost.
        const QUIET: u32 = 1 << 22;
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        let kept = if value.is_nan() { bits | QUIET } else { rounded };
        Self::from_bits((kept >> 16) as u16)
    }

    fn as_f32(_values: &[Self]) -> Option<&[f32]> {
        None
    }

    unsafe fn write_rounded(
        target: &mut [MaybeUninit<Self>],
        memory: &mut Vec<f32>,
        write: impl FnOnce(&mut [MaybeUninit<f32>]),
    ) {
        memory.clear();
        memory.reserve(target.len());
        write(&mut memory.spare_capacity_mut()[..target.len()]);
        // SAFETY: guaranteed by the caller.
        unsafe { memory.set_len(target.len()) };
        vectorised(
            #[inline(always)]
            || target.iter_mut().zip(&*memory).for_each(|(target, value)| _ = target.write(Self::narrow(*value))),
        );
    }
}

/// Evaluates a kernel for the type of values that `dtype` names, or else the plain form. Activations of 16 bits exist
/// only where processors multiply them.
macro_rules! by_type {
    ($dtype:expr, $stored:ident => $kernel:expr, else $plain:expr) => {
        match $dtype {
            burn::tensor::DType::F32 => {
                type $stored = f32;
                $kernel
            }
            #[cfg(target_arch = "x86_64")]
            burn::tensor::DType::BF16 => {
                type $stored = burn::tensor::bf16;
                $kernel
            }
            _ => $plain,
        }
    };
}
pub(crate) use by_type;

/// Returns whether a tensor's dtype has fused kernels.
pub fn is_f32(x: &FlexTensor) -> bool {
    x.dtype() == DType::F32
}

/// Returns the values of a contiguous tensor.
///
/// # Panics
/// If the tensor is not contiguous.
pub fn values<T: Stored>(tensor: &FlexTensor) -> &[T] {
    tensor.as_slice().expect("the tensor was made contiguous")
}

/// Makes a tensor of `values`.
pub fn tensor<T: Stored>(values: Vec<T>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape.into()), T::dtype())
}

/// Runs `work` with the widest vectors that the processor has; `work` must be inlined.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Returns the larger value. Unlike `f32::max` it keeps NaN, which shows that a run has diverged.
#[inline(always)]
pub fn at_least(x: f32, floor: f32) -> f32 {
    if x < floor { floor } else { x }
}

/// Values, or partial sums, processed at once: several vectors, so that instructions do not wait for each other.
pub const LANES: usize = 64;

/// Sums both terms of each index of slices of equal length, in an order that depends only on the length.
#[inline(always)]
pub fn sums<T: Stored, const N: usize>(slices: [&[T]; N], term: impl Fn([f32; N]) -> [f32; 2]) -> [f64; 2] {
    let [mut firsts, mut seconds] = [[0.0_f32; LANES]; 2];
    let chunks = slices.map(|slice| slice.as_chunks::<LANES>());
    let least = |lengths: [usize; N]| lengths.into_iter().min().unwrap_or(0);
    for chunk in 0..least(chunks.map(|(chunks, _)| chunks.len())) {
        let values = chunks.map(|(chunks, _)| &chunks[chunk]);
        for lane in 0..LANES {
            let [first, second] = term(values.map(|values| values[lane].widen()));
            firsts[lane] += first;
            seconds[lane] += second;
        }
    }
    let mut sums = [0.0; 2];
    for (sum, lanes) in sums.iter_mut().zip([&mut firsts, &mut seconds]) {
        let mut half = LANES / 2;
        while half > 0 {
            let (left, right) = lanes.split_at_mut(half);
            left.iter_mut().zip(right).for_each(|(left, right)| *left += *right);
            half /= 2;
        }
        *sum = f64::from(lanes[0]);
    }
    for place in 0..least(chunks.map(|(_, rest)| rest.len())) {
        let [first, second] = term(chunks.map(|(_, rest)| rest[place].widen()));
        sums[0] += f64::from(first);
        sums[1] += f64::from(second);
    }
    sums
}

/// Collects `count` values that `work` writes in chunks of `size`, as in [`for_each_chunk`], without zeroing memory
/// first.
///
/// # Safety
/// `size` divides `count`, and `work` writes every value of its chunk.
pub unsafe fn par_collect_uninit<T: Send, S>(
    count: usize,
    size: usize,
    state: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, usize, &mut [MaybeUninit<T>]) + Sync + Send,
) -> Vec<T> {
    let mut values = Vec::with_capacity(count);
    for_each_chunk(&mut values.spare_capacity_mut()[..count], size, state, work);
    // SAFETY: guaranteed by the caller.
    unsafe { values.set_len(count) };
    values
}

/// Computes new values of `changed` from `changed` and `others`, tensors of one shape; in place where `changed` is not
/// shared. `compute` takes the index of the first of every [`LANES`] values and returns the function for them.
pub fn zip_map_inplace<T: Stored, const M: usize, const N: usize, C: Fn([f32; M], [f32; N]) -> [f32; M]>(
    changed: [FlexTensor; M],
    others: [&FlexTensor; N],
    compute: impl Fn(usize) -> C + Sync,
) -> [FlexTensor; M] {
    /// Values per task: few enough to balance the load.
    const CHUNK: usize = 1 << 14;
    // Consumes the originals: a contiguous tensor must not be held twice, to be changed in place.
    let mut changed = changed.map(|tensor| tensor.to_contiguous());
    let others = others.map(FlexTensor::to_contiguous);
    let sources = others.each_ref().map(values::<T>);
    let mut targets = changed.each_mut().map(|tensor| {
        let (start, count) = (tensor.layout().start_offset(), tensor.layout().num_elements());
        tensor.storage_mut::<T>()[start..][..count].chunks_mut(CHUNK)
    });
    let mut chunks: Vec<[&mut [T]; M]> = (0..targets[0].len())
        .map(|_| targets.each_mut().map(|chunks| chunks.next().expect("all tensors have one length")))
        .collect();
    for_each_chunk(
        &mut chunks,
        1,
        || (),
        |(), number, chunk| {
            let targets = &mut chunk[0];
            let (start, length) = (number * CHUNK, targets[0].len());
            let sources = sources.map(|source| source[start..][..length].as_chunks::<LANES>());
            let mut targets = targets.each_mut().map(|target| target.as_chunks_mut::<LANES>());
            vectorised(
                #[inline(always)]
                || {
                    for number in 0..length / LANES {
                        let sources = sources.map(|(chunks, _)| &chunks[number]);
                        let mut targets = targets.each_mut().map(|(chunks, _)| &mut chunks[number]);
                        let compute = compute(start + number * LANES);
                        for lane in 0..LANES {
                            let before = targets.each_ref().map(|target| target[lane].widen());
                            let after = compute(before, sources.map(|source| source[lane].widen()));
                            targets.iter_mut().zip(after).for_each(|(target, after)| target[lane] = T::narrow(after));
                        }
                    }
                    for place in 0..length % LANES {
                        let compute = compute(start + length / LANES * LANES);
                        let before = targets.each_ref().map(|(_, rest)| rest[place].widen());
                        let after = compute(before, sources.map(|(_, rest)| rest[place].widen()));
                        targets.iter_mut().zip(after).for_each(|((_, rest), after)| rest[place] = T::narrow(after));
                    }
                },
            );
        },
    );
    changed
}
