//! What moves all parameters at once, on the CPU, for f32.

use std::{array, mem::MaybeUninit};

use burn::backend::flex::FlexTensor;

use super::{LANES, for_each_chunk, tensor, values, vectorised};

/// Values that a core moves in one go: few enough for even shares.
const CHUNK: usize = 1 << 14;

/// Values and velocities after a step, given both, the gradient and each value's decay.
pub fn descend(tensors: [&FlexTensor; 4], momentum: f32, rate: f32) -> (FlexTensor, FlexTensor) {
    let [moved, velocities] = each(
        tensors,
        #[inline(always)]
        move |[value, velocity, gradient, decay]| {
            let velocity = momentum * velocity + (gradient + value * decay);
            [value - rate * velocity, velocity]
        },
    );
    (moved, velocities)
}

/// `keep * values + (1 - keep) * target`.
pub fn approach(tensors: [&FlexTensor; 2], keep: f64) -> FlexTensor {
    let [keep, share] = [keep as f32, (1.0 - keep) as f32];
    let [moved] = each(
        tensors,
        #[inline(always)]
        move |[value, target]| [keep * value + share * target],
    );
    moved
}

/// Tensors of what `compute` makes of each place of tensors of one shape.
fn each<const N: usize, const M: usize>(
    tensors: [&FlexTensor; N],
    compute: impl Fn([f32; N]) -> [f32; M] + Sync + Copy,
) -> [FlexTensor; M] {
    let shape = tensors[0].layout().shape().clone();
    let tensors = tensors.map(FlexTensor::to_contiguous);
    let sources = tensors.each_ref().map(values);
    let count = sources[0].len();
    let mut results: [Vec<f32>; M] = array::from_fn(|_| Vec::with_capacity(count));
    let mut targets = results.each_mut().map(|result| result.spare_capacity_mut()[..count].chunks_mut(CHUNK));
    let mut chunks: Vec<[&mut [MaybeUninit<f32>]; M]> = (0..count.div_ceil(CHUNK))
        .map(|_| targets.each_mut().map(|chunks| chunks.next().expect("all results have one length")))
        .collect();
    for_each_chunk(
        &mut chunks,
        1,
        || (),
        |(), number, chunk| {
            let targets = &mut chunk[0];
            let length = targets[0].len();
            let sources = sources.map(|source| source[number * CHUNK..][..length].as_chunks::<LANES>());
            let mut targets = targets.each_mut().map(|target| target.as_chunks_mut::<LANES>());
            vectorised(
                #[inline(always)]
                || {
                    for number in 0..length / LANES {
                        let sources = sources.map(|(chunks, _)| &chunks[number]);
                        let mut targets = targets.each_mut().map(|(chunks, _)| &mut chunks[number]);
                        for lane in 0..LANES {
                            let computed = compute(sources.map(|source| source[lane]));
                            for (target, value) in targets.iter_mut().zip(computed) {
                                target[lane].write(value);
                            }
                        }
                    }
                    for place in 0..length % LANES {
                        let computed = compute(sources.map(|(_, rest)| rest[place]));
                        for ((_, target), value) in targets.iter_mut().zip(computed) {
                            target[place].write(value);
                        }
                    }
                },
            );
        },
    );
    results.map(|mut result| {
        // SAFETY: the chunks are all of it, and each place of theirs was written.
        unsafe { result.set_len(count) };
        tensor(result, shape.clone())
    })
}
