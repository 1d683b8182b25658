//! Square convolution without bias.
//!
//! Burn's CPU back end converts every activation to another layout and back, and computes a weight's
//! gradient as a convolution with a kernel the size of the image. The form here reads the layout there is.

mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::{Shape, Tensor, module, ops::ConvOptions},
};

use crate::{cpu::is_f32, threads};

/// Convolves `x`, `[batch, in, height, width]`, with `weight`, `[out, in / groups, kernel, kernel]`, padded by half
/// the kernel: to `[batch, out, height / stride, width / stride]`, rounded up. How many groups there are, which see
/// nothing of each other, follows from these shapes: as many as channels if it is depthwise.
pub fn conv(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::conv(x.into_dispatch(), weight.into_dispatch(), stride))
}

/// [`conv`] where its output is known already: the weight's gradient is all that is left to compute.
pub fn conv_known(x: Tensor<4>, weight: Tensor<4>, output: Tensor<4>, stride: usize) -> Tensor<4> {
    let [x, weight, output] = [x, weight, output].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::conv_known(x, weight, output, stride))
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
        plain::conv::<Self>(x, weight, stride)
    }

    /// See [`conv_known`].
    fn conv_known(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        output: FloatTensor<Self>,
        _stride: usize,
    ) -> FloatTensor<Self> {
        output
    }

    /// Gradient of the input.
    fn conv_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        plain::input_gradient::<Self>(x, weight, gradient, stride)
    }

    /// Gradient of the weight.
    fn conv_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        plain::weight_gradient::<Self>(x, weight, gradient, stride)
    }

    /// Both gradients, the input's and the weight's.
    fn conv_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let of_input = Self::conv_input_gradient(x.clone(), weight.clone(), gradient.clone(), stride);
        (of_input, Self::conv_weight_gradient(x, weight, gradient, stride))
    }
}

pub(crate) mod plain {
    //! The operations of a back end's own operations: for large products on GPUs, and for precisions without a fused form.

    use super::{Backend, FloatTensor, TensorMetadata, options};

    pub fn conv<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, stride: usize) -> FloatTensor<B> {
        let options = options(x.shape(), weight.shape(), stride);
        B::conv2d(x, weight, None, options)
    }

    pub fn input_gradient<B: Backend>(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        gradient: FloatTensor<B>,
        stride: usize,
    ) -> FloatTensor<B> {
        let options = options(x.shape(), weight.shape(), stride);
        B::conv2d_x_backward(x, weight, gradient, options)
    }

    pub fn weight_gradient<B: Backend>(
        x: FloatTensor<B>,
        weight: FloatTensor<B>,
        gradient: FloatTensor<B>,
        stride: usize,
    ) -> FloatTensor<B> {
        let options = options(x.shape(), weight.shape(), stride);
        B::conv2d_weight_backward(x, weight, gradient, options)
    }
}

/// Burn's name for the same convolution.
fn options(x: Shape, weight: Shape, stride: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [weight[2] / 2; 2], [1, 1], x[1] / weight[1])
}

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
        match (x_parent, weight_parent) {
            (Some(x_parent), Some(weight_parent)) => {
                let (of_input, of_weight) = B::conv_gradients(x, weight, gradient, stride);
                grads.register::<B>(x_parent.id, of_input);
                grads.register::<B>(weight_parent.id, of_weight);
            }
            (Some(parent), None) => {
                grads.register::<B>(parent.id, B::conv_input_gradient(x, weight, gradient, stride));
            }
            // The image itself asks for no gradient, which the stem then need not compute.
            (None, Some(parent)) => {
                grads.register::<B>(parent.id, B::conv_weight_gradient(x, weight, gradient, stride));
            }
            (None, None) => {}
        }
    }
}

impl<B: ConvBackend, C: CheckpointStrategy> ConvBackend for Autodiff<B, C> {
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize) -> FloatTensor<Self> {
        let output = B::conv(Self::inner(x.clone()), Self::inner(weight.clone()), stride);
        Self::conv_known(x, weight, Self::from_inner(output), stride)
    }

    fn conv_known(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        output: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        let step = ConvStep.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful();
        let [x, weight, output] = [x, weight, output].map(Self::inner);
        match step {
            OpsKind::Tracked(step) => step.finish(Saved { x, weight, stride }, output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    }
}

impl ConvBackend for Flex {
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize) -> FloatTensor<Self> {
        if !is_f32(&x) {
            return plain::conv::<Self>(x, weight, stride);
        }
        cpu::forward(&x, &weight, stride)
    }

    fn conv_known(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        output: FloatTensor<Self>,
        _stride: usize,
    ) -> FloatTensor<Self> {
        // Once, for a norm and its backward pass.
        output.to_contiguous()
    }

    fn conv_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        if !is_f32(&x) {
            return plain::input_gradient::<Self>(x, weight, gradient, stride);
        }
        cpu::input_gradient(&x, &weight, &gradient, stride)
    }

    fn conv_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        if !is_f32(&x) {
            return plain::weight_gradient::<Self>(x, weight, gradient, stride);
        }
        cpu::weight_gradient(&x, &weight, &gradient, stride)
    }

    fn conv_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        stride: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        // Together, so that what one leaves idle at its end works for the other.
        let (x, weight, gradient) = (&x, &weight, &gradient);
        threads::join(
            || Self::conv_input_gradient(x.clone(), weight.clone(), gradient.clone(), stride),
            || Self::conv_weight_gradient(x.clone(), weight.clone(), gradient.clone(), stride),
        )
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

    fn known(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
        let [x_values, weight_values] = [&x, &weight].map(|tensor| tensor.clone().without_autodiff());
        conv_known(x, weight, conv(x_values, weight_values, stride), stride)
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
            let expected = run(conv_plain);
            for (found, expected) in run(conv).iter().chain(&run(known)).zip(expected.iter().cycle()) {
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
