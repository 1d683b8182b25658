//! Convolution: see [`crate::kernel::conv`].
//!
//! Each product is one launch without shared memory or copies, which reads the weight's slice where it lies in the full
//! weight. That is what counts for small networks; large products are Burn's, and so are grouped ones.

use burn::backend::{TensorMetadata, cubecl::dtype_to_storage_type, ops::ModuleOps, tensor::FloatTensor};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};
use cubecl::{ir::ElemType, prelude::*};

use super::{Joint, UNITS, values};
use crate::kernel::conv::{ConvBackend, options};

/// Multiply-accumulates up to which a product is computed here.
const SMALL: usize = 1 << 28;

/// Output channels that an invocation computes from one read of the input.
const BLOCK: usize = 4;

/// Invocations that share a weight's gradient: their sums fit into shared memory up to a kernel of 7.
const PARTS: usize = 128;

/// What a kernel reads and writes.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Sizes {
    /// Channels, height and width of what the convolution reads.
    inputs: usize,
    height: usize,
    width: usize,
    /// Channels, height and width of what it writes.
    outputs: usize,
    out_height: usize,
    out_width: usize,
    /// Pixels that it writes in all images.
    out_pixels: usize,
    kernel: usize,
    stride: usize,
}

/// From one value of the weight to the next of another output, input, row, column.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct WeightStrides {
    output: usize,
    input: usize,
    row: usize,
    column: usize,
}

/// A row or column that another one meets through a tap of the kernel, and whether it lies within `length`. From output to
/// input; if `transposed`, from input to output.
#[cube]
fn meet(
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
        let met = distance / stride;
        (met, from + padding >= tap && met * stride == distance && met < length)
    } else {
        let distance = from * stride + tap;
        (distance - padding, distance >= padding && distance - padding < length)
    }
}

/// Convolves `source` to `target`; if `transposed`, from the output's gradient to the input's.
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
    let pixel = CUBE_POS_X as usize * comptime!(UNITS) + UNIT_POS as usize;
    if pixel < sizes.out_pixels {
        let plane = sizes.out_height * sizes.out_width;
        let image = pixel / plane;
        let place = pixel - image * plane;
        let y = place / sizes.out_width;
        let x = place - y * sizes.out_width;
        let first = CUBE_POS_Y as usize * comptime!(BLOCK);
        let last = sizes.outputs - 1;
        // A surplus output of the last block is computed as the last one and not written.
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
            let (met_y, is_inside_y) = meet(y, row, sizes.height, sizes.kernel, sizes.stride, transposed);
            for column in 0..sizes.kernel {
                let (met_x, is_inside_x) = meet(x, column, sizes.width, sizes.kernel, sizes.stride, transposed);
                if is_inside_y && is_inside_x {
                    let mut at = source_image + met_y * sizes.width + met_x;
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

/// The weight's gradient. A workgroup sums over all pixels, for an input channel, a row of the kernel and some outputs.
#[cube(launch_unchecked)]
fn weight_gradient<F: Float>(
    source: &[F],
    gradient: &[F],
    target: &mut [F],
    sizes: Sizes,
    #[comptime] taps: usize,
    #[define(F)] _dtype: ElemType,
) {
    let sums_of_unit = comptime!(BLOCK * taps);
    let input = CUBE_POS_X as usize;
    let first = CUBE_POS_Y as usize * comptime!(BLOCK);
    let row = CUBE_POS_Z as usize;
    let last = sizes.outputs - 1;
    let plane = sizes.out_height * sizes.out_width;
    let mut sums = Array::<f32>::new(sums_of_unit);
    #[unroll]
    for sum in 0..sums_of_unit {
        sums[sum] = 0.0f32;
    }
    let mut pixel = UNIT_POS as usize;
    while pixel < sizes.out_pixels {
        let image = pixel / plane;
        let place = pixel - image * plane;
        let y = place / sizes.out_width;
        let x = place - y * sizes.out_width;
        let (met_y, is_inside_y) = meet(y, row, sizes.height, sizes.kernel, sizes.stride, false);
        if is_inside_y {
            let source_row = ((image * sizes.inputs + input) * sizes.height + met_y) * sizes.width;
            let mut gradients = Array::<f32>::new(BLOCK);
            #[unroll]
            for slot in 0..BLOCK {
                let output = first + slot;
                let output = if output < last { output } else { last };
                gradients[slot] = f32::cast_from(gradient[(image * sizes.outputs + output) * plane + place]);
            }
            #[unroll]
            for column in 0..taps {
                let (met_x, is_inside_x) = meet(x, column, sizes.width, sizes.kernel, sizes.stride, false);
                if is_inside_x {
                    let value = f32::cast_from(source[source_row + met_x]);
                    #[unroll]
                    for slot in 0..BLOCK {
                        let sum = comptime!(slot * taps + column);
                        sums[sum] += value * gradients[slot];
                    }
                }
            }
        }
        pixel += comptime!(PARTS);
    }
    let mut shared = Shared::<[f32]>::new_slice(comptime!(PARTS * BLOCK * taps));
    let unit = UNIT_POS as usize;
    #[unroll]
    for sum in 0..sums_of_unit {
        shared[unit * sums_of_unit + sum] = sums[sum];
    }
    sync_cube();
    let output = first + unit / taps;
    if unit < sums_of_unit && output < sizes.outputs {
        let mut sum = 0.0f32;
        for part in 0..PARTS {
            sum += shared[part * sums_of_unit + unit];
        }
        let column = unit % taps;
        let at = ((output * sizes.inputs + input) * taps + row) * taps + column;
        target[at] = F::cast_from(sum);
    }
}

/// A convolution that is computed here.
#[derive(Clone, Copy)]
struct Direct {
    x: [usize; 4],
    weight: [usize; 4],
    out: [usize; 4],
    stride: usize,
}

impl Direct {
    /// None if it is one of Burn's.
    fn of(x: &CubeTensor, weight: &CubeTensor, stride: usize) -> Option<Self> {
        let [x, weight]: [[usize; 4]; 2] = [x.shape().dims(), weight.shape().dims()];
        let out = [x[0], weight[0], x[2].div_ceil(stride), x[3].div_ceil(stride)];
        let products = out.iter().product::<usize>() * weight[1..].iter().product::<usize>();
        (x[1] == weight[1] && products <= SMALL).then_some(Self { x, weight, out, stride })
    }

    /// Sizes of a product from tensors of the shape `from` to such of `to`.
    fn sizes(&self, from: [usize; 4], to: [usize; 4]) -> SizesLaunch {
        let pixels = to[0] * to[2] * to[3];
        SizesLaunch::new(from[1], from[2], from[3], to[1], to[2], to[3], pixels, self.weight[2], self.stride)
    }

    /// The convolution of `source`, of the shape `from`, to the shape `to`, or its transpose.
    fn convolve(
        &self,
        source: CubeTensor,
        weight: CubeTensor,
        [from, to]: [[usize; 4]; 2],
        transposed: bool,
    ) -> CubeTensor {
        let target = Joint::new(&source, to.into(), 1);
        let [mut output, mut input, row, column] = std::array::from_fn(|side| weight.meta.strides()[side]);
        if transposed {
            std::mem::swap(&mut output, &mut input);
        }
        let pixels = to[0] * to[2] * to[3];
        // SAFETY: the sizes are the tensors' own, beyond which the kernel accesses nothing.
        unsafe {
            convolve::launch_unchecked(
                &source.client.clone(),
                CubeCount::Static(pixels.div_ceil(UNITS) as u32, to[1].div_ceil(BLOCK) as u32, 1),
                CubeDim::new_1d(UNITS as u32),
                values(source.clone()),
                weight.into_buffer_arg(),
                target.buffer(),
                self.sizes(from, to),
                WeightStridesLaunch::new(output, input, row, column),
                transposed,
                dtype_to_storage_type(source.dtype),
            );
        }
        let [target] = target.into();
        target
    }

    fn weight_gradient(&self, x: CubeTensor, gradient: CubeTensor) -> CubeTensor {
        let target = Joint::new(&x, self.weight.into(), 1);
        let [outputs, inputs, kernel, _] = self.weight;
        // SAFETY: the sizes are the tensors' own, beyond which the kernel accesses nothing.
        unsafe {
            weight_gradient::launch_unchecked(
                &x.client.clone(),
                CubeCount::Static(inputs as u32, outputs.div_ceil(BLOCK) as u32, kernel as u32),
                CubeDim::new_1d(PARTS as u32),
                values(x.clone()),
                values(gradient),
                target.buffer(),
                self.sizes(self.x, self.out),
                kernel,
                dtype_to_storage_type(x.dtype),
            );
        }
        let [target] = target.into();
        target
    }
}

impl ConvBackend for CubeBackend {
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize) -> FloatTensor<Self> {
        match Direct::of(&x, &weight, stride) {
            Some(direct) => direct.convolve(x, weight, [direct.x, direct.out], false),
            None => {
                let options = options(x.shape(), weight.shape(), stride);
                Self::conv2d(x, weight, None, options)
            }
        }
    }

    fn conv_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        match Direct::of(&x, &weight, stride) {
            Some(direct) => direct.convolve(gradient, weight, [direct.out, direct.x], true),
            None => {
                let options = options(x.shape(), weight.shape(), stride);
                Self::conv2d_x_backward(x, weight, gradient, options)
            }
        }
    }

    fn conv_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        match Direct::of(&x, &weight, stride) {
            Some(direct) => direct.weight_gradient(x, gradient),
            None => {
                let options = options(x.shape(), weight.shape(), stride);
                Self::conv2d_weight_backward(x, weight, gradient, options)
            }
        }
    }
}
