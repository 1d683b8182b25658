//! Square convolution without bias.
//!
//! Burn's CPU back end converts every activation to another layout and back, and computes a weight's
//! gradient as a convolution with a kernel the size of the image. Here all three products are matrix
//! products on the layout there is: an image's patches become the columns of a matrix, a few rows of
//! pixels at a time so that they stay in the cache, one image a core. Sums run in one order whatever the
//! number of threads, so a run repeats.

use std::ops::Range;

#[cfg(feature = "webgpu")]
use burn::backend::Cube;
use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        flex::FlexTensor,
        ops::ModuleOps,
        tensor::FloatTensor,
    },
    tensor::{Shape, Tensor, module, ops::ConvOptions},
};

use super::cpu;

/// Convolves `x`, `[batch, in, height, width]`, with `weight`, `[out, in / groups, kernel, kernel]`, padded by half
/// the kernel: to `[batch, out, height / stride, width / stride]`, rounded up. How many groups there are, which see
/// nothing of each other, follows from these shapes: as many as channels if it is depthwise.
pub fn conv(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::conv(x.into_dispatch(), weight.into_dispatch(), stride))
}

/// The plain form of [`conv`], of Burn's own operation.
pub fn conv_plain(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    let options = options(x.shape(), weight.shape(), stride);
    module::conv2d(x, weight, None, options)
}

/// The convolution and its gradients as operations of a back end; by default of its own.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait ConvBackend: Backend {
    /// See [`conv`].
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize) -> FloatTensor<Self> {
        let options = options(x.shape(), weight.shape(), stride);
        Self::conv2d(x, weight, None, options)
    }

    /// Gradient of the input.
    fn conv_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        let options = options(x.shape(), weight.shape(), stride);
        Self::conv2d_x_backward(x, weight, gradient, options)
    }

    /// Gradient of the weight.
    fn conv_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        let options = options(x.shape(), weight.shape(), stride);
        Self::conv2d_weight_backward(x, weight, gradient, options)
    }
}

/// Burn's name for the same convolution.
fn options(x: Shape, weight: Shape, stride: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [weight[2] / 2; 2], [1, 1], x[1] / weight[1])
}

#[cfg(feature = "webgpu")]
impl ConvBackend for Cube {}

/// The graph's step.
#[derive(Debug)]
struct ConvStep;

/// What the backward pass needs of the forward.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    stride: usize,
}

impl<B: ConvBackend> Backward<B, 2> for ConvStep {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Saved { x, weight, stride } = ops.state;
        let [x_parent, weight_parent] = ops.parents;
        // The image itself asks for no gradient, which the stem then need not compute.
        if let Some(parent) = x_parent {
            let gradient = B::conv_input_gradient(x.clone(), weight.clone(), gradient.clone(), stride);
            grads.register::<B>(parent.id, gradient);
        }
        if let Some(parent) = weight_parent {
            grads.register::<B>(parent.id, B::conv_weight_gradient(x, weight, gradient, stride));
        }
    }
}

impl<B: ConvBackend, C: CheckpointStrategy> ConvBackend for Autodiff<B, C> {
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize) -> FloatTensor<Self> {
        let step = ConvStep.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful();
        let [x, weight] = [x, weight].map(Self::inner);
        let output = B::conv(x.clone(), weight.clone(), stride);
        match step {
            OpsKind::Tracked(step) => step.finish(Saved { x, weight, stride }, output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }
}

impl ConvBackend for Flex {
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize) -> FloatTensor<Self> {
        if !cpu::is_f32(&x) {
            let options = options(x.shape(), weight.shape(), stride);
            return Self::conv2d(x, weight, None, options);
        }
        let [x, weight] = [x, weight].map(|tensor| tensor.to_contiguous());
        let shape = Geometry::of(&x, &weight, stride);
        let (x, weight) = (cpu::values(&x), cpu::values(&weight));
        let mut output = vec![0.0; shape.batch * shape.groups * shape.output_size()];
        cpu::for_each_chunk(&mut output, shape.output_size(), Vec::new, |columns, number, output| {
            let x = &x[number * shape.input_size()..][..shape.input_size()];
            let weight = &weight[shape.weight_place(number)];
            for rows in shape.row_chunks() {
                let (columns, pixels) = shape.columns(x, &rows, columns);
                let product = Product {
                    rows: shape.outputs,
                    columns: pixels,
                    inner: shape.patch(),
                    left: Matrix::by_rows(weight, shape.patch()),
                    right: Matrix::by_rows(columns, columns.len() / shape.patch()),
                };
                product.write(&mut output[rows.start * shape.out_width..], shape.out_plane(), false);
            }
        });
        cpu::tensor(output, [shape.batch, shape.groups * shape.outputs, shape.out_height, shape.out_width])
    }

    fn conv_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        if !cpu::is_f32(&x) {
            let options = options(x.shape(), weight.shape(), stride);
            return Self::conv2d_x_backward(x, weight, gradient, options);
        }
        let shape = Geometry::of(&x, &weight, stride);
        let [weight, gradient] = [weight, gradient].map(|tensor| tensor.to_contiguous());
        let (weight, gradient) = (cpu::values(&weight), cpu::values(&gradient));
        let mut x_gradient = vec![0.0; shape.batch * shape.groups * shape.input_size()];
        cpu::for_each_chunk(
            &mut x_gradient,
            shape.input_size(),
            Vec::new,
            |columns: &mut Vec<f32>, number, x_gradient| {
                let gradient = &gradient[number * shape.output_size()..][..shape.output_size()];
                let weight = &weight[shape.weight_place(number)];
                for rows in shape.row_chunks() {
                    let pixels = rows.len() * shape.out_width;
                    let product = Product {
                        rows: shape.patch(),
                        columns: pixels,
                        inner: shape.outputs,
                        left: Matrix::by_columns(weight, shape.patch()),
                        right: Matrix::by_rows(&gradient[rows.start * shape.out_width..], shape.out_plane()),
                    };
                    if shape.is_pointwise() {
                        product.write(&mut x_gradient[rows.start * shape.out_width..], shape.out_plane(), false);
                    } else {
                        columns.resize(shape.patch() * pixels, 0.0);
                        product.write(columns, pixels, false);
                        shape.scatter(columns, &rows, x_gradient);
                    }
                }
            },
        );
        cpu::tensor(x_gradient, [shape.batch, shape.groups * shape.inputs, shape.height, shape.width])
    }

    fn conv_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        if !cpu::is_f32(&x) {
            let options = options(x.shape(), weight.shape(), stride);
            return Self::conv2d_weight_backward(x, weight, gradient, options);
        }
        let shape = Geometry::of(&x, &weight, stride);
        let [x, gradient] = [x, gradient].map(|tensor| tensor.to_contiguous());
        let (x, gradient) = (cpu::values(&x), cpu::values(&gradient));
        let size = shape.groups * shape.weight_size();
        let parts = PARTS.min(shape.batch);
        let mut partial = vec![0.0; parts * size];
        cpu::for_each_chunk(&mut partial, size, Vec::new, |columns, part, partial| {
            let images = part * shape.batch / parts..(part + 1) * shape.batch / parts;
            for number in images.start * shape.groups..images.end * shape.groups {
                let x = &x[number * shape.input_size()..][..shape.input_size()];
                let gradient = &gradient[number * shape.output_size()..][..shape.output_size()];
                let partial = &mut partial[shape.weight_place(number)];
                for rows in shape.row_chunks() {
                    let (columns, pixels) = shape.columns(x, &rows, columns);
                    let product = Product {
                        rows: shape.outputs,
                        columns: shape.patch(),
                        inner: pixels,
                        left: Matrix::by_rows(&gradient[rows.start * shape.out_width..], shape.out_plane()),
                        right: Matrix::by_columns(columns, columns.len() / shape.patch()),
                    };
                    product.write(partial, shape.patch(), true);
                }
            }
        });
        let (sum, others) = partial.split_at_mut(size);
        for other in others.chunks_exact(size) {
            sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
        }
        partial.truncate(size);
        cpu::tensor(partial, [shape.groups * shape.outputs, shape.inputs, shape.kernel, shape.kernel])
    }
}

/// Parts of the batch whose weight gradients are summed apart: enough for the cores, and always as many, so that
/// the sum does not depend on the number of threads.
const PARTS: usize = 8;

/// Values of patches that are laid out at a time: 128 kB stay in a core's cache.
const COLUMN_VALUES: usize = 1 << 15;

/// Sizes of a convolution. A grouped one goes over `batch * groups` images, one for each group's channels, and each
/// with its group's weight: inputs, outputs and sizes are a group's.
#[derive(Clone, Copy)]
struct Geometry {
    batch: usize,
    groups: usize,
    inputs: usize,
    outputs: usize,
    height: usize,
    width: usize,
    kernel: usize,
    stride: usize,
    out_height: usize,
    out_width: usize,
}

impl Geometry {
    fn of(x: &FlexTensor, weight: &FlexTensor, stride: usize) -> Self {
        let [batch, channels, height, width] = x.layout().shape().dims();
        let [out_channels, inputs, kernel, _] = weight.layout().shape().dims();
        let groups = channels / inputs;
        let outputs = out_channels / groups;
        assert_eq!([groups * inputs, groups * outputs], [channels, out_channels], "channels divide into groups");
        let (out_height, out_width) = (height.div_ceil(stride), width.div_ceil(stride));
        Self { batch, groups, inputs, outputs, height, width, kernel, stride, out_height, out_width }
    }

    fn weight_size(&self) -> usize {
        self.outputs * self.patch()
    }

    /// Where the weight of the image `number` lies.
    fn weight_place(&self, number: usize) -> Range<usize> {
        let start = number % self.groups * self.weight_size();
        start..start + self.weight_size()
    }

    fn input_size(&self) -> usize {
        self.inputs * self.height * self.width
    }

    fn output_size(&self) -> usize {
        self.outputs * self.out_plane()
    }

    fn out_plane(&self) -> usize {
        self.out_height * self.out_width
    }

    /// Values of the image that one pixel of the output sees.
    fn patch(&self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    /// Whether the image is the matrix of its patches.
    fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    /// Output rows, as many at a time as their patches fit the cache.
    fn row_chunks(self) -> impl Iterator<Item = Range<usize>> {
        let fitting =
            if self.is_pointwise() { self.out_height } else { COLUMN_VALUES / (self.patch() * self.out_width) };
        let step = fitting.clamp(1, self.out_height);
        (0..self.out_height).step_by(step).map(move |start| start..(start + step).min(self.out_height))
    }

    /// The patches that `rows` of the output see, `[patch, pixels]`, and the number of pixels. The row length of
    /// the matrix is its size over the patch: longer than the pixels where it is the image itself.
    fn columns<'a>(&self, x: &'a [f32], rows: &Range<usize>, buffer: &'a mut Vec<f32>) -> (&'a [f32], usize) {
        let pixels = rows.len() * self.out_width;
        if self.is_pointwise() {
            return (x, pixels);
        }
        buffer.resize(self.patch() * pixels, 0.0);
        self.for_each_row(rows, |source, place| {
            let target = &mut buffer[place * self.out_width..][..self.out_width];
            let Some((source, seen)) = source else { return target.fill(0.0) };
            target[..seen.start].fill(0.0);
            target[seen.end..].fill(0.0);
            let source = &x[source..];
            if self.stride == 1 {
                target[seen.clone()].copy_from_slice(&source[..seen.len()]);
            } else {
                target[seen].iter_mut().zip(source.iter().step_by(self.stride)).for_each(|(t, s)| *t = *s);
            }
        });
        (buffer, pixels)
    }

    /// Adds the gradients of patches to the image's: the transpose of [`columns`](Self::columns).
    fn scatter(&self, columns: &[f32], rows: &Range<usize>, x: &mut [f32]) {
        self.for_each_row(rows, |source, place| {
            let Some((source, seen)) = source else { return };
            let columns = &columns[place * self.out_width..][seen];
            x[source..].iter_mut().step_by(self.stride).zip(columns).for_each(|(x, column)| *x += column);
        });
    }

    /// Calls `visit` for each row of pixels of each row of the matrix of patches: with the place in the image of its
    /// first pixel that lies inside and the range of its pixels that do (none if the padding is all it sees), and its
    /// own place, in rows of pixels.
    fn for_each_row(&self, rows: &Range<usize>, mut visit: impl FnMut(Option<(usize, Range<usize>)>, usize)) {
        let padding = self.kernel / 2;
        let mut place = 0;
        for channel in 0..self.inputs {
            for dy in 0..self.kernel {
                for dx in 0..self.kernel {
                    // Output columns whose input column, `out * stride + dx - padding`, lies inside.
                    let first = padding.saturating_sub(dx).div_ceil(self.stride);
                    let end = (self.width + padding).saturating_sub(dx).div_ceil(self.stride).min(self.out_width);
                    for row in rows.clone() {
                        let y = (row * self.stride + dy).wrapping_sub(padding);
                        let inside = y < self.height && first < end;
                        let source = inside.then(|| {
                            let x = first * self.stride + dx - padding;
                            ((channel * self.height + y) * self.width + x, first..end)
                        });
                        visit(source, place);
                        place += 1;
                    }
                }
            }
        }
    }
}

/// A matrix in memory.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `length` values, one after the other.
    fn by_rows(values: &'a [f32], length: usize) -> Self {
        Self { values, row_stride: length, column_stride: 1 }
    }

    /// Columns of `length` values, one after the other.
    fn by_columns(values: &'a [f32], length: usize) -> Self {
        Self { values, row_stride: 1, column_stride: length }
    }

    fn reaches(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row_stride + (columns - 1) * self.column_stride < self.values.len()
    }
}

/// The product of two matrices, on the calling thread.
struct Product<'a> {
    rows: usize,
    columns: usize,
    inner: usize,
    left: Matrix<'a>,
    right: Matrix<'a>,
}

impl Product<'_> {
    /// Writes the product to `target`, whose rows are `length` values apart, or adds it to what is there.
    fn write(&self, target: &mut [f32], length: usize, add: bool) {
        let Self { rows, columns, inner, left, right } = *self;
        assert!(left.reaches(rows, inner) && right.reaches(inner, columns) && columns <= length);
        assert!((rows - 1) * length + columns <= target.len());
        // SAFETY: the assertions above keep every element that the strides reach inside its slice, and `target`
        // is borrowed for writing alone.
        unsafe {
            gemm::gemm(
                rows,
                columns,
                inner,
                target.as_mut_ptr(),
                1,
                length as isize,
                add,
                left.values.as_ptr(),
                left.column_stride as isize,
                left.row_stride as isize,
                right.values.as_ptr(),
                right.column_stride as isize,
                right.row_stride as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    fn close(found: &[f32], expected: &[f32]) -> bool {
        let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 2e-5 * largest)
    }

    #[test]
    fn the_fused_form_is_the_plain_one_forward_and_backward() {
        let device = Device::flex();
        for (batch, groups, inputs, outputs, kernel, stride, height, width) in [
            (2, 1, 3, 16, 3, 1, 8, 8),
            (3, 1, 4, 12, 3, 2, 7, 9),
            (9, 1, 5, 7, 3, 1, 1, 4),
            (2, 1, 8, 6, 1, 1, 5, 3),
            (2, 1, 8, 6, 1, 2, 5, 6),
            (2, 1, 3, 4, 7, 2, 20, 17),
            (1, 1, 40, 48, 3, 1, 33, 33),
            (2, 2, 4, 6, 3, 1, 6, 5),
            (9, 6, 6, 6, 3, 1, 7, 8),
            (3, 6, 6, 6, 5, 2, 9, 10),
        ] {
            let random = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
            let x = random([batch, inputs, height, width]);
            let weight = random([outputs, inputs / groups, kernel, kernel]);
            let cotangent = random([batch, outputs, height.div_ceil(stride), width.div_ceil(stride)]);
            let run = |form: fn(Tensor<4>, Tensor<4>, usize) -> Tensor<4>| {
                let [x, weight] = [&x, &weight].map(|leaf| leaf.clone().autodiff().require_grad());
                let output = form(x.clone(), weight.clone(), stride);
                let gradients = (output.clone() * cotangent.clone()).sum().backward();
                [output.without_autodiff(), x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap()].map(values)
            };
            let case = (batch, groups, inputs, outputs, kernel, stride, height, width);
            for (found, expected) in run(conv).iter().zip(&run(conv_plain)) {
                assert!(close(found, expected), "{case:?}");
            }
        }
    }

    #[test]
    fn a_depthwise_convolution_sums_over_each_window_of_each_channel() {
        let [channels, height, width] = [3, 7, 6];
        for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
            let random = |shape: [usize; 4]| Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
            let (x, weight) = (random([2, channels, height, width]), random([channels, 1, kernel, kernel]));
            let output = values(conv(x.clone(), weight.clone(), stride));
            let (x, weight) = (values(x), values(weight));
            let mut expected = Vec::new();
            for (plane, x) in x.chunks_exact(height * width).enumerate() {
                for top in (0..height).step_by(stride) {
                    for left in (0..width).step_by(stride) {
                        let mut sum = 0.0;
                        for (dy, dx) in (0..kernel).flat_map(|dy| (0..kernel).map(move |dx| (dy, dx))) {
                            let [y, column] = [top + dy, left + dx].map(|place| place.wrapping_sub(kernel / 2));
                            if y < height && column < width {
                                let weight = weight[(plane % channels * kernel + dy) * kernel + dx];
                                sum += weight * x[y * width + column];
                            }
                        }
                        expected.push(sum);
                    }
                }
            }
            assert!(close(&output, &expected), "kernel {kernel}, stride {stride}");
        }
    }
}
