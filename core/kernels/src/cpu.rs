//! What the fused operations on CPUs share: access to Burn's tensors and vectorised loops.

use std::mem::MaybeUninit;

use burn::{
    backend::flex::{FlexTensor, Layout},
    tensor::{Bytes, DType, Shape},
};
use pulp::Arch;

use crate::threads::for_each_chunk;

/// Returns whether a tensor's dtype has fused kernels.
pub fn is_f32(x: &FlexTensor) -> bool {
    x.dtype() == DType::F32
}

/// Returns the values of a contiguous tensor.
///
/// # Panics
/// If the tensor is not contiguous.
pub fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("the tensor was made contiguous")
}

/// Makes a tensor of `values`.
pub fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape.into()), DType::F32)
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
pub fn sums<const N: usize>(slices: [&[f32]; N], term: impl Fn([f32; N]) -> [f32; 2]) -> [f64; 2] {
    let [mut firsts, mut seconds] = [[0.0_f32; LANES]; 2];
    let chunks = slices.map(|slice| slice.as_chunks::<LANES>());
    let least = |lengths: [usize; N]| lengths.into_iter().min().unwrap_or(0);
    for chunk in 0..least(chunks.map(|(chunks, _)| chunks.len())) {
        let values = chunks.map(|(chunks, _)| &chunks[chunk]);
        for lane in 0..LANES {
            let [first, second] = term(values.map(|values| values[lane]));
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
        let [first, second] = term(chunks.map(|(_, rest)| rest[place]));
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
pub unsafe fn par_collect_uninit<S>(
    count: usize,
    size: usize,
    state: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, usize, &mut [MaybeUninit<f32>]) + Sync + Send,
) -> Vec<f32> {
    let mut values = Vec::with_capacity(count);
    for_each_chunk(&mut values.spare_capacity_mut()[..count], size, state, work);
    // SAFETY: guaranteed by the caller.
    unsafe { values.set_len(count) };
    values
}

/// Computes new values of `changed` from `changed` and `others`, tensors of one shape; in place where `changed` is not
/// shared. `compute` takes the index of the first of every [`LANES`] values and returns the function for them.
pub fn zip_map_inplace<const M: usize, const N: usize, C: Fn([f32; M], [f32; N]) -> [f32; M]>(
    changed: [FlexTensor; M],
    others: [&FlexTensor; N],
    compute: impl Fn(usize) -> C + Sync,
) -> [FlexTensor; M] {
    /// Values per task: few enough to balance the load.
    const CHUNK: usize = 1 << 14;
    // Consumes the originals: a contiguous tensor must not be held twice, to be changed in place.
    let mut changed = changed.map(|tensor| tensor.to_contiguous());
    let others = others.map(FlexTensor::to_contiguous);
    let sources = others.each_ref().map(values);
    let mut targets = changed.each_mut().map(|tensor| {
        let (start, count) = (tensor.layout().start_offset(), tensor.layout().num_elements());
        tensor.storage_mut::<f32>()[start..][..count].chunks_mut(CHUNK)
    });
    let mut chunks: Vec<[&mut [f32]; M]> = (0..targets[0].len())
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
                            let before = targets.each_ref().map(|target| target[lane]);
                            let after = compute(before, sources.map(|source| source[lane]));
                            targets.iter_mut().zip(after).for_each(|(target, after)| target[lane] = after);
                        }
                    }
                    for place in 0..length % LANES {
                        let compute = compute(start + length / LANES * LANES);
                        let before = targets.each_ref().map(|(_, rest)| rest[place]);
                        let after = compute(before, sources.map(|(_, rest)| rest[place]));
                        targets.iter_mut().zip(after).for_each(|((_, rest), after)| rest[place] = after);
                    }
                },
            );
        },
    );
    changed
}
