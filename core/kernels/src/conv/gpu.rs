//! Convolution on GPUs.
//!
//! Each product is one launch that copies nothing: it reads the weight's slice in place, from the full weight. That is
//! what matters for small networks. Large products and grouped ones are left to Burn.

use burn::backend::{TensorMetadata, cubecl::dtype_to_storage_type, tensor::FloatTensor};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*, server::CubeCountSelection};

use super::{ConvBackend, ConvBackward, plain, types::ConvInput};
use crate::gpu::{SMALL, SharedBuffer, contiguous_buffer};

/// Output channels that an invocation computes per read of the input.
const BLOCK: usize = 4;

/// Invocations per workgroup: their sums fit into shared memory for kernels up to 7.
const UNITS: usize = 128;

/// Sizes of what a kernel reads and writes.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Sizes {
    /// Channels, height and width of the source.
    inputs: usize,
    height: usize,
    width: usize,
    /// Channels, height and width of the target.
    outputs: usize,
    out_height: usize,
    out_width: usize,
    /// Pixels of the target, over all images.
    out_pixels: usize,
    kernel: usize,
    stride: usize,
}

/// Strides of the weight.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct WeightStrides {
    output: usize,
    input: usize,
    row: usize,
    column: usize,
}

/// Returns the row or column that `tap` of the kernel connects with `from`, and whether it is inside `length`. From
/// output to input, or, if `transposed`, from input to output.
#[cube]
fn through_tap(
    from: usize,
    tap: usize,
    length: usize,
    kernel: usize,
    stride: usize,
    #[comptime] transposed: bool,
) -> (usize, bool) {
    let padding = kernel / 2;
    if comptime!(transposed) {
        let distance = from + padding - tap;
        let target = distance / stride;
        (target, from + padding >= tap && target * stride == distance && target < length)
    } else {
        let distance = from * stride + tap;
        (distance - padding, distance >= padding && distance - padding < length)
    }
}

/// Computes the workgroup's part of a convolution from `source` to `target`, or, if `transposed`, from the output's
/// gradient to the input's.
#[cube]
fn convolve_part<F: Float>(
    source: &[F],
    weight: &[F],
    target: &mut [F],
    sizes: &Sizes,
    strides: &WeightStrides,
    group: usize,
    #[comptime] transposed: bool,
) {
    let groups_of_block = sizes.out_pixels.div_ceil(comptime!(UNITS));
    let block = group / groups_of_block;
    let pixel = (group - block * groups_of_block) * comptime!(UNITS) + UNIT_POS as usize;
    if pixel < sizes.out_pixels {
        let plane = sizes.out_height * sizes.out_width;
        let image = pixel / plane;
        let place = pixel - image * plane;
        let y = place / sizes.out_width;
        let x = place - y * sizes.out_width;
        let first = block * comptime!(BLOCK);
        let last = sizes.outputs - 1;
        // Past the last output of the last block, the last one is computed again and not written.
        let mut offsets = Array::<usize>::new(BLOCK);
        let mut sums = Array::<f32>::new(BLOCK);
        #[unroll]
        for slot in 0..BLOCK {
            let output = first + slot;
            let output = if output < last { output } else { last };
            offsets[slot] = output * strides.output;
            sums[slot] = 0.0f32;
        }
        let source_plane = sizes.height * sizes.width;
        let source_image = image * sizes.inputs * source_plane;
        for row in 0..sizes.kernel {
            let (source_y, is_inside_y) = through_tap(y, row, sizes.height, sizes.kernel, sizes.stride, transposed);
            for column in 0..sizes.kernel {
                let (source_x, is_inside_x) =
                    through_tap(x, column, sizes.width, sizes.kernel, sizes.stride, transposed);
                if is_inside_y && is_inside_x {
                    let mut at = source_image + source_y * sizes.width + source_x;
                    let mut tap = row * strides.row + column * strides.column;
                    for _channel in 0..sizes.inputs {
                        let value = f32::cast_from(source[at]);
                        #[unroll]
                        for slot in 0..BLOCK {
                            sums[slot] += value * f32::cast_from(weight[tap + offsets[slot]]);
                        }
                        at += source_plane;
                        tap += strides.input;
                    }
                }
            }
        }
        #[unroll]
        for slot in 0..BLOCK {
            let output = first + slot;
            if output < sizes.outputs {
                target[(image * sizes.outputs + output) * plane + place] = F::cast_from(sums[slot]);
            }
        }
    }
}

/// Computes the workgroup's part of the weight's gradient: the sums over all pixels for one input channel, one row of
/// the kernel and [`BLOCK`] outputs.
#[cube]
fn weight_gradient_part<F: Float>(
    source: &[F],
    gradient: &[F],
    target: &mut [F],
    sizes: &Sizes,
    group: usize,
    #[comptime] taps: usize,
) {
    let sums_of_unit = comptime!(BLOCK * taps);
    let row = group % taps;
    let input = group / taps % sizes.inputs;
    let first = group / taps / sizes.inputs * comptime!(BLOCK);
    let last = sizes.outputs - 1;
    let plane = sizes.out_height * sizes.out_width;
    let mut sums = Array::<f32>::new(sums_of_unit);
    #[unroll]
    for sum in 0..sums_of_unit {
        sums[sum] = 0.0f32;
    }
    // Divisions are slow, so an invocation moves from pixel to pixel by additions, with at most one carry each.
    let image_step = comptime!(UNITS) / plane;
    let y_step = (comptime!(UNITS) - image_step * plane) / sizes.out_width;
    let x_step = comptime!(UNITS) - image_step * plane - y_step * sizes.out_width;
    let mut pixel = UNIT_POS as usize;
    let mut image = pixel / plane;
    let mut y = (pixel - image * plane) / sizes.out_width;
    let mut x = pixel - image * plane - y * sizes.out_width;
    while pixel < sizes.out_pixels {
        let place = y * sizes.out_width + x;
        let (source_y, is_inside_y) = through_tap(y, row, sizes.height, sizes.kernel, sizes.stride, false);
        if is_inside_y {
            let source_row = ((image * sizes.inputs + input) * sizes.height + source_y) * sizes.width;
            let mut gradients = Array::<f32>::new(BLOCK);
            #[unroll]
            for slot in 0..BLOCK {
                let output = first + slot;
                let output = if output < last { output } else { last };
                gradients[slot] = f32::cast_from(gradient[(image * sizes.outputs + output) * plane + place]);
            }
            #[unroll]
            for column in 0..taps {
                let (source_x, is_inside_x) = through_tap(x, column, sizes.width, sizes.kernel, sizes.stride, false);
                if is_inside_x {
                    let value = f32::cast_from(source[source_row + source_x]);
                    #[unroll]
                    for slot in 0..BLOCK {
                        let sum = comptime!(slot * taps + column);
                        sums[sum] += value * gradients[slot];
                    }
                }
            }
        }
        pixel += comptime!(UNITS);
        image += image_step;
        y += y_step;
        x += x_step;
        if x >= sizes.out_width {
            x -= sizes.out_width;
            y += 1;
        }
        if y >= sizes.out_height {
            y -= sizes.out_height;
            image += 1;
        }
    }
    let mut shared = Shared::<[f32]>::new_slice(comptime!(UNITS * BLOCK * taps));
    let unit = UNIT_POS as usize;
    #[unroll]
    for sum in 0..sums_of_unit {
        shared[unit * sums_of_unit + sum] = sums[sum];
    }
    sync_cube();
    let output = first + unit / taps;
    if unit < sums_of_unit && output < sizes.outputs {
        let mut sum = 0.0f32;
        for part in 0..UNITS {
            sum += shared[part * sums_of_unit + unit];
        }
        let column = unit % taps;
        let at = ((output * sizes.inputs + input) * taps + row) * taps + column;
        target[at] = F::cast_from(sum);
    }
}

#[cube(launch_unchecked)]
fn convolve<F: Float>(
    source: &[F],
    weight: &[F],
    target: &mut [F],
    sizes: Sizes,
    strides: WeightStrides,
    #[comptime] transposed: bool,
    #[define(F)] _dtype: ElemType,
) {
    convolve_part::<F>(source, weight, target, &sizes, &strides, CUBE_POS, transposed);
}

#[cube(launch_unchecked)]
fn weight_gradient<F: Float>(
    source: &[F],
    gradient: &[F],
    target: &mut [F],
    sizes: Sizes,
    #[comptime] taps: usize,
    #[define(F)] _dtype: ElemType,
) {
    weight_gradient_part::<F>(source, gradient, target, &sizes, CUBE_POS, taps);
}

/// Computes both gradients; the first `weight_groups` workgroups compute the weight's. `forward` has the sizes of the
/// convolution, `backward` those of its transpose.
#[cube(launch_unchecked)]
fn gradients<F: Float>(
    x: &[F],
    weight: &[F],
    gradient: &[F],
    x_gradient: &mut [F],
    weight_gradient: &mut [F],
    forward: Sizes,
    backward: Sizes,
    strides: WeightStrides,
    weight_groups: usize,
    #[comptime] taps: usize,
    #[define(F)] _dtype: ElemType,
) {
    if CUBE_POS < weight_groups {
        weight_gradient_part::<F>(x, gradient, weight_gradient, &forward, CUBE_POS, taps);
    } else {
        let group = CUBE_POS - weight_groups;
        convolve_part::<F>(gradient, weight, x_gradient, &backward, &strides, group, true);
    }
}

/// Shapes of a convolution that is computed here.
#[derive(Clone, Copy)]
struct Direct {
    x: [usize; 4],
    weight: [usize; 4],
    out: [usize; 4],
    stride: usize,
}

impl Direct {
    /// Returns `None` if it is left to Burn.
    fn of(input: &ConvInput<CubeBackend>) -> Option<Self> {
        let stride = input.stride;
        let [x, weight]: [[usize; 4]; 2] = [input.x.shape().dims(), input.weight.shape().dims()];
        let out = [x[0], weight[0], x[2].div_ceil(stride), x[3].div_ceil(stride)];
        let products = out.iter().product::<usize>() * weight[1..].iter().product::<usize>();
        (x[1] == weight[1] && products <= SMALL).then_some(Self { x, weight, out, stride })
    }

    /// Returns the sizes of a product from shape `from` to shape `to`.
    fn sizes(&self, from: [usize; 4], to: [usize; 4]) -> SizesLaunch {
        let pixels = to[0] * to[2] * to[3];
        SizesLaunch::new(from[1], from[2], from[3], to[1], to[2], to[3], pixels, self.weight[2], self.stride)
    }

    /// Returns the number of workgroups for a convolution to shape `to`.
    fn groups(to: [usize; 4]) -> usize {
        (to[0] * to[2] * to[3]).div_ceil(UNITS) * to[1].div_ceil(BLOCK)
    }

    /// Returns the number of workgroups for the weight's gradient.
    fn weight_groups(&self) -> usize {
        let [outputs, inputs, kernel, _] = self.weight;
        kernel * inputs * outputs.div_ceil(BLOCK)
    }

    /// Returns the weight's strides for the convolution or its transpose.
    fn strides(weight: &CubeTensor, transposed: bool) -> WeightStridesLaunch {
        let [mut output, mut input, row, column] = std::array::from_fn(|side| weight.meta.strides()[side]);
        if transposed {
            std::mem::swap(&mut output, &mut input);
        }
        WeightStridesLaunch::new(output, input, row, column)
    }

    /// Computes the convolution of `source`, of shape `from`, to shape `to`, or its transpose.
    fn convolve(
        &self,
        source: CubeTensor,
        weight: CubeTensor,
        [from, to]: [[usize; 4]; 2],
        transposed: bool,
    ) -> CubeTensor {
        let target = SharedBuffer::new(&source, to.into(), 1);
        let (client, dtype) = (source.client.clone(), dtype_to_storage_type(source.dtype));
        let strides = Self::strides(&weight, transposed);
        // SAFETY: the kernel stays within the sizes, which are those of the tensors.
        unsafe {
            convolve::launch_unchecked(
                &client,
                cube_count(&client, Self::groups(to)),
                CubeDim::new_1d(UNITS as u32),
                contiguous_buffer(source),
                weight.into_buffer_arg(),
                target.buffer(),
                self.sizes(from, to),
                strides,
                transposed,
                dtype,
            );
        }
        let [target] = target.into();
        target
    }

    fn weight_gradient(&self, x: CubeTensor, gradient: CubeTensor) -> CubeTensor {
        let target = SharedBuffer::new(&x, self.weight.into(), 1);
        let (client, dtype) = (x.client.clone(), dtype_to_storage_type(x.dtype));
        // SAFETY: the kernel stays within the sizes, which are those of the tensors.
        unsafe {
            weight_gradient::launch_unchecked(
                &client,
                cube_count(&client, self.weight_groups()),
                CubeDim::new_1d(UNITS as u32),
                contiguous_buffer(x),
                contiguous_buffer(gradient),
                target.buffer(),
                self.sizes(self.x, self.out),
                self.weight[2],
                dtype,
            );
        }
        let [target] = target.into();
        target
    }

    fn gradients(&self, x: CubeTensor, weight: CubeTensor, gradient: CubeTensor) -> (CubeTensor, CubeTensor) {
        let [of_x, of_weight] = [self.x, self.weight].map(|shape| SharedBuffer::new(&x, shape.into(), 1));
        let (client, dtype) = (x.client.clone(), dtype_to_storage_type(x.dtype));
        let strides = Self::strides(&weight, true);
        // SAFETY: the kernel stays within the sizes, which are those of the tensors.
        unsafe {
            gradients::launch_unchecked(
                &client,
                cube_count(&client, self.weight_groups() + Self::groups(self.x)),
                CubeDim::new_1d(UNITS as u32),
                contiguous_buffer(x),
                weight.into_buffer_arg(),
                contiguous_buffer(gradient),
                of_x.buffer(),
                of_weight.buffer(),
                self.sizes(self.x, self.out),
                self.sizes(self.out, self.x),
                strides,
                self.weight_groups(),
                self.weight[2],
                dtype,
            );
        }
        let ([of_x], [of_weight]) = (of_x.into(), of_weight.into());
        (of_x, of_weight)
    }
}

/// Returns a grid of at least `groups` workgroups, in up to three dimensions.
fn cube_count(client: &Client, groups: usize) -> CubeCount {
    CubeCountSelection::new(client, groups as u32).cube_count()
}

impl ConvBackend for CubeBackend {
    fn conv(input: ConvInput<Self>) -> FloatTensor<Self> {
        match Direct::of(&input) {
            Some(direct) => direct.convolve(input.x, input.weight, [direct.x, direct.out], false),
            None => plain::conv(input),
        }
    }

    fn conv_known(_input: ConvInput<Self>, output: FloatTensor<Self>) -> FloatTensor<Self> {
        // Made contiguous once, for the norm that follows and its backward pass.
        into_contiguous(output)
    }
}

impl ConvBackward for CubeBackend {
    fn conv_input_gradient(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        match Direct::of(&input) {
            Some(direct) => direct.convolve(gradient, input.weight, [direct.out, direct.x], true),
            None => plain::input_gradient(input, gradient),
        }
    }

    fn conv_weight_gradient(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        match Direct::of(&input) {
            Some(direct) => direct.weight_gradient(input.x, gradient),
            None => plain::weight_gradient(input, gradient),
        }
    }

    fn conv_gradients(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        match Direct::of(&input) {
            Some(direct) => direct.gradients(input.x, input.weight, gradient),
            None => {
                let x = plain::input_gradient(input.clone(), gradient.clone());
                (x, plain::weight_gradient(input, gradient))
            }
        }
    }
}
