//! The gradient of the weight.

use std::array;

use burn::backend::{Flex, flex::FlexTensor};
use pulp::{Arch, Simd, WithSimd};

use super::{
    copy::copy_rows,
    geometry::Geometry,
    vectors::{MOST_LANES, MOST_VECTORS, ROWS, SLACK, lanes, most_vectors},
};
use crate::{
    conv::types::ConvInput,
    cpu::{Stored, tensor, values},
    threads::{for_each_chunk, threads},
};

/// Values of either side that are multiplied at a time: they stay in the L2 cache.
const FAR: usize = 1 << 16;

/// The maximum number of parts of a batch that are summed separately: enough for all cores, and independent of the
/// number of threads, so that the sum is too.
const PARTS: usize = 16;

/// Vectors per dot product that make it worth reducing its lanes.
const LONG: usize = 64;

/// Computes the gradient of the weight, whose values are not read; for activations of type `T`.
///
/// Parts of the batch and blocks of output channels are summed separately, each over its own canvases.
pub fn weight_gradient<T: Stored>(input: &ConvInput<Flex>, gradient: &FlexTensor) -> FlexTensor {
    let shape = Geometry::of(input);
    let [x, gradient] = [&input.x, gradient].map(FlexTensor::to_contiguous);
    let (x, gradient) = (values::<T>(&x), values::<T>(&gradient));
    let Geometry { batch, groups, inputs, outputs, .. } = shape;
    let (canvas, offsets) = (shape.input_canvas(), shape.patch_offsets());
    let taps = shape.kernel * shape.kernel;
    // Size of a plane of the output's gradient in the input's pitch; zero in the margins.
    let plane = ((shape.out_height - 1) * canvas.pitch + shape.out_width).next_multiple_of(MOST_LANES);
    let parts = (batch * plane / MOST_LANES / LONG).clamp(1, PARTS.min(batch));
    // Each block fills its own canvases, so there are only as many as keep the threads busy.
    let rows = match groups {
        1 => (outputs * parts).div_ceil(2 * threads()).next_multiple_of(ROWS).min(outputs),
        _ => outputs,
    };
    let blocks = outputs.div_ceil(rows);
    let together = (LONG * MOST_LANES / plane).clamp(1, batch.div_ceil(parts));
    let some = (FAR / (together * canvas.channel())).clamp(1, inputs);
    let image = some * canvas.channel();
    let size = rows * shape.patch();
    let mut partial = vec![0.0; parts * groups * blocks * size];
    let blank = || (vec![0.0; together * image + canvas.pitch + SLACK], vec![0.0; together * rows * plane]);
    for_each_chunk(&mut partial, size, blank, |(right, left), task, target| {
        let (part, group, block) = (task / blocks / groups, task / blocks % groups, task % blocks);
        let rows = block * rows..((block + 1) * rows).min(outputs);
        let images = part * batch / parts..(part + 1) * batch / parts;
        for start in images.clone().step_by(together) {
            let images = start..(start + together).min(images.end);
            let numbers = || images.clone().map(|image| image * groups + group);
            for (place, number) in numbers().enumerate() {
                let gradient = &gradient[number * shape.output_size()..][..shape.output_size()];
                let planes = gradient.chunks_exact(shape.out_plane()).skip(rows.start).take(rows.len());
                for (row, source) in planes.enumerate() {
                    let target = &mut left[(place * rows.len() + row) * plane..][..plane];
                    copy_rows(source, shape.out_width, target, canvas.pitch);
                }
            }
            for first in (0..inputs).step_by(some) {
                let inputs = first..(first + some).min(inputs);
                let own = |number: usize| number * shape.input_size() + inputs.start * shape.plane();
                let end = own((images.end - 1) * groups + group) + inputs.len() * shape.plane();
                // Whole vectors are read, even past the last plane, where `left` is zero.
                let (right, image) = match T::as_f32(x) {
                    Some(x) if shape.is_pointwise() && end + MOST_LANES <= x.len() => {
                        (&x[own(images.start * groups + group)..], groups * shape.input_size())
                    }
                    _ => {
                        for (target, number) in right.chunks_exact_mut(image).zip(numbers()) {
                            canvas.fill(&x[own(number)..][..inputs.len() * shape.plane()], target);
                        }
                        (&right[..], image)
                    }
                };
                let (rows, images) = (rows.len(), images.len());
                let offsets = &offsets[..inputs.len() * taps];
                let (target, apart) = (&mut target[inputs.start * taps..], shape.patch());
                Arch::new().dispatch(Dots { left, rows, plane, right, image, offsets, images, target, apart });
            }
        }
    });
    let (sum, others) = partial.split_at_mut(groups * blocks * size);
    for other in others.chunks_exact(sum.len()) {
        sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
    }
    // The last block may have fewer rows.
    partial.truncate(groups * outputs * shape.patch());
    tensor(partial, [groups * outputs, inputs, shape.kernel, shape.kernel])
}

/// Adds to `target[row][tap]` the dot product, over the pixels of all images, of a row of `left` with the inputs of the
/// tap in `right`.
struct Dots<'a> {
    /// `[images, rows, plane]`.
    left: &'a [f32],
    rows: usize,
    plane: usize,
    right: &'a [f32],
    /// Values per image of `right`.
    image: usize,
    offsets: &'a [usize],
    images: usize,
    target: &'a mut [f32],
    /// From one row of the target to the next.
    apart: usize,
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        const HALF: usize = MOST_VECTORS / 2;
        match (self.rows, most_vectors::<S>()) {
            (1, _) => self.add::<S, 1, MOST_VECTORS>(simd),
            (_, MOST_VECTORS) => self.add::<S, ROWS, MOST_VECTORS>(simd),
            _ => self.add::<S, ROWS, HALF>(simd),
        }
    }
}

impl Dots<'_> {
    #[inline(always)]
    fn add<S: Simd, const R: usize, const N: usize>(self, simd: S) {
        let Self { left, rows, plane, right, image, offsets, images, target, apart } = self;
        let furthest = offsets.iter().max().map_or(0, |offset| offset + plane + (images - 1) * image);
        assert!(
            furthest <= right.len() && images * rows * plane <= left.len(),
            "every row and tap is inside its slice"
        );
        let (left, right) = (left.as_ptr(), right.as_ptr());
        for (first_row, first_tap) in
            (0..rows).step_by(R).flat_map(|row| (0..offsets.len()).step_by(N).map(move |tap| (row, tap)))
        {
            // Past the last row or tap, the last one is computed again and dropped.
            let row_places: [usize; R] = array::from_fn(|r| (first_row + r).min(rows - 1) * plane);
            let tap_places: [usize; N] = array::from_fn(|n| offsets[(first_tap + n).min(offsets.len() - 1)]);
            let mut sums = [[simd.splat_f32s(0.0); N]; R];
            for number in 0..images {
                for pixel in (0..plane).step_by(lanes::<S>()) {
                    // SAFETY: the assertion above keeps the last vector of every row and tap inside its slice, since a
                    // plane consists of whole vectors.
                    let rows: [S::f32s; R] = array::from_fn(|r| unsafe {
                        left.add(number * rows * plane + row_places[r] + pixel).cast::<S::f32s>().read_unaligned()
                    });
                    for n in 0..N {
                        // SAFETY: as above.
                        let tap = unsafe {
                            right.add(number * image + tap_places[n] + pixel).cast::<S::f32s>().read_unaligned()
                        };
                        for r in 0..R {
                            sums[r][n] = simd.mul_add_e_f32s(rows[r], tap, sums[r][n]);
                        }
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate().take(rows - first_row) {
                let target = &mut target[(first_row + r) * apart + first_tap..];
                for (target, sum) in target.iter_mut().zip(sums).take(offsets.len() - first_tap) {
                    *target += simd.reduce_sum_f32s(*sum);
                }
            }
        }
    }
}
