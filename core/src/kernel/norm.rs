//! Batch norm over the batch, with what follows it in a residual network: ReLU, or the shortcut and ReLU.
//!
//! As separate tensor operations these read and write every activation a dozen times. The fused form on
//! the CPU reads it three times forward and twice backward, on all cores. The sums of a channel run in one
//! order whatever the number of threads, so a run repeats.

#[cfg(feature = "webgpu")]
use burn::backend::Cube;
use burn::{
    backend::{
        Autodiff, AutodiffBackend, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::{Tensor, activation::relu, module},
};

use super::cpu;
use crate::walk::Then;

impl Then<Tensor<4>> {
    /// The plain form: what follows a normalised `x`.
    pub fn apply(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Nothing => x,
            Self::Relu => relu(x),
            Self::AddRelu(shortcut) => relu(x + shortcut),
        }
    }
}

/// Result of [`batch_norm_train`].
pub struct Normalised {
    /// `[batch, channels, height, width]`.
    pub output: Tensor<4>,
    /// The batch's mean, `[channels]`, outside any graph.
    pub mean: Tensor<1>,
    /// The batch's biased variance, `[channels]`, outside any graph.
    pub variance: Tensor<1>,
}

/// Normalises `x`, `[batch, channels, height, width]`, by the batch's own statistics, scales by `gamma`
/// and shifts by `beta`, `[channels]` each, and does what follows.
pub fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    then: Then<Tensor<4>>,
) -> Normalised {
    let [x, gamma, beta] = [x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch()];
    let (output, mean, variance) = match then {
        Then::Nothing => Dispatch::norm(x, gamma, beta, epsilon, false),
        Then::Relu => Dispatch::norm(x, gamma, beta, epsilon, true),
        Then::AddRelu(shortcut) => Dispatch::norm_add_relu(x, gamma, beta, shortcut.into_dispatch(), epsilon),
    };
    Normalised {
        output: Tensor::from_dispatch(output),
        mean: Tensor::<1>::from_dispatch(mean).without_autodiff(),
        variance: Tensor::<1>::from_dispatch(variance).without_autodiff(),
    }
}

/// The plain form of [`batch_norm_train`], of Burn's own operations.
pub fn batch_norm_train_plain(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    then: Then<Tensor<4>>,
) -> Normalised {
    let plain = module::batch_norm_train(x, gamma, beta, epsilon);
    Normalised {
        output: then.apply(plain.output),
        mean: plain.mean.without_autodiff(),
        variance: plain.variance.without_autodiff(),
    }
}

/// Output, mean and biased variance.
type Forward<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);
/// Gradients of the input, of gamma and of beta.
type Gradient<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

mod plain {
    //! The operation of a back end's own operations: for the GPUs, and for precisions without a fused form.

    use super::{Backend, FloatTensor, Forward, Gradient};

    pub fn norm<B: Backend>(
        x: FloatTensor<B>,
        gamma: FloatTensor<B>,
        beta: FloatTensor<B>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<B> {
        let result = B::batch_norm_train(x, gamma, beta, epsilon);
        let output = if relu { B::relu(result.output) } else { result.output };
        (output, result.mean, result.variance)
    }

    pub fn norm_add_relu<B: Backend>(
        x: FloatTensor<B>,
        gamma: FloatTensor<B>,
        beta: FloatTensor<B>,
        shortcut: FloatTensor<B>,
        epsilon: f64,
    ) -> Forward<B> {
        let result = B::batch_norm_train(x, gamma, beta, epsilon);
        (B::relu(B::float_add(result.output, shortcut)), result.mean, result.variance)
    }

    #[allow(clippy::too_many_arguments)]
    pub fn norm_backward<B: Backend>(
        x: FloatTensor<B>,
        output: FloatTensor<B>,
        gamma: FloatTensor<B>,
        mean: FloatTensor<B>,
        variance: FloatTensor<B>,
        gradient: FloatTensor<B>,
        epsilon: f64,
        relu: bool,
    ) -> Gradient<B> {
        let gradient = if relu { B::relu_backward(output, gradient) } else { gradient };
        let result = B::batch_norm_train_backward(x, gamma, mean, variance, epsilon, gradient);
        (result.x_grad, result.gamma_grad, result.beta_grad)
    }
}

/// Batch norm and what follows it as one operation of a back end; by default of its own operations.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait NormBackend: Backend {
    /// Batch norm, then ReLU if `relu`.
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::norm::<Self>(x, gamma, beta, epsilon, relu)
    }

    /// Batch norm, plus the shortcut, then ReLU.
    fn norm_add_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::norm_add_relu::<Self>(x, gamma, beta, shortcut, epsilon)
    }

    /// Gradients of the input, gamma and beta. `output` is the forward's, whose zeros the ReLU made; without
    /// `relu` it is not looked at.
    #[allow(clippy::too_many_arguments)]
    fn norm_backward(
        x: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::norm_backward::<Self>(x, output, gamma, mean, variance, gradient, epsilon, relu)
    }
}

#[cfg(feature = "webgpu")]
impl NormBackend for Cube {}

/// What the backward pass needs of the forward.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    output: FloatTensor<B>,
    gamma: FloatTensor<B>,
    mean: FloatTensor<B>,
    variance: FloatTensor<B>,
    epsilon: f64,
    relu: bool,
}

impl<B: NormBackend> Saved<B> {
    fn backward(self, gradient: FloatTensor<B>) -> Gradient<B> {
        B::norm_backward(self.x, self.output, self.gamma, self.mean, self.variance, gradient, self.epsilon, self.relu)
    }
}

/// The graph's step of [`NormBackend::norm`].
#[derive(Debug)]
struct NormStep;

impl<B: NormBackend> Backward<B, 3> for NormStep {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, gamma, beta) = ops.state.backward(grads.consume::<B>(&ops.node));
        for (parent, gradient) in ops.parents.into_iter().zip([x, gamma, beta]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// The graph's step of [`NormBackend::norm_add_relu`].
#[derive(Debug)]
struct NormAddReluStep;

impl<B: NormBackend> Backward<B, 4> for NormAddReluStep {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        // The ReLU stands after the sum, so both its terms have the gradient that it lets through.
        let shortcut = B::relu_backward(ops.state.output.clone(), grads.consume::<B>(&ops.node));
        let (x, gamma, beta) = ops.state.backward(shortcut.clone());
        for (parent, gradient) in ops.parents.into_iter().zip([x, gamma, beta, shortcut]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: NormBackend, C: CheckpointStrategy> NormBackend for Autodiff<B, C> {
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Self> {
        let step = NormStep.prepare::<C>([x.node(), gamma.node(), beta.node()]).compute_bound().stateful();
        let [x, gamma, beta] = [x, gamma, beta].map(Self::inner);
        let (output, mean, variance) = B::norm(x.clone(), gamma.clone(), beta, epsilon, relu);
        let statistics = [mean.clone(), variance.clone()].map(Self::from_inner);
        let saved = Saved { x, output: output.clone(), gamma, mean, variance, epsilon, relu };
        let output = match step {
            OpsKind::Tracked(step) => step.finish(saved, output),
            OpsKind::UnTracked(step) => step.finish(output),
        };
        let [mean, variance] = statistics;
        (output, mean, variance)
    }

    fn norm_add_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f64,
    ) -> Forward<Self> {
        let parents = [x.node(), gamma.node(), beta.node(), shortcut.node()];
        let step = NormAddReluStep.prepare::<C>(parents).compute_bound().stateful();
        let [x, gamma, beta] = [x, gamma, beta].map(Self::inner);
        let (output, mean, variance) = B::norm_add_relu(x.clone(), gamma.clone(), beta, Self::inner(shortcut), epsilon);
        let statistics = [mean.clone(), variance.clone()].map(Self::from_inner);
        let saved = Saved { x, output: output.clone(), gamma, mean, variance, epsilon, relu: false };
        let output = match step {
            OpsKind::Tracked(step) => step.finish(saved, output),
            OpsKind::UnTracked(step) => step.finish(output),
        };
        let [mean, variance] = statistics;
        (output, mean, variance)
    }

    fn norm_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f64,
        _: bool,
    ) -> Gradient<Self> {
        unreachable!("the gradient of the gradient is never asked for")
    }
}

mod fused {
    //! The fused form on the CPU, for f32.

    use burn::backend::{Flex, flex::FlexTensor};

    use super::{Forward, Gradient};
    use crate::kernel::cpu::{self, tensor, values};

    /// Batch, channels, pixels of a plane.
    #[derive(Clone, Copy)]
    struct Extent {
        batch: usize,
        channels: usize,
        plane: usize,
    }

    impl Extent {
        fn of(x: &FlexTensor) -> Self {
            let [batch, channels, height, width] = x.layout().shape().dims();
            Self { batch, channels, plane: height * width }
        }

        /// The planes of one channel, image by image.
        fn planes(self, values: &[f32], channel: usize) -> impl Iterator<Item = &[f32]> + Clone {
            let stride = self.channels * self.plane;
            (0..self.batch).map(move |image| &values[image * stride + channel * self.plane..][..self.plane])
        }

        fn samples(self) -> f64 {
            (self.batch * self.plane) as f64
        }
    }

    /// Calls `write` for each plane of `output` with its index, on all cores, an image at a time.
    fn per_plane(extent: Extent, output: &mut [f32], write: impl Fn(usize, &mut [f32]) + Sync + Send) {
        let image_size = extent.channels * extent.plane;
        cpu::for_each_chunk(
            output,
            image_size,
            || (),
            |(), image, values| {
                for (channel, plane) in values.chunks_exact_mut(extent.plane).enumerate() {
                    write(image * extent.channels + channel, plane);
                }
            },
        );
    }

    /// Partial sums kept side by side, so that the compiler can use vectors.
    const LANES: usize = 16;

    /// Sum of `term` over the elements, in an order that depends on nothing but their number.
    #[inline(always)]
    fn sum(count: usize, term: impl Fn(usize) -> f32) -> f64 {
        let mut lanes = [0.0_f32; LANES];
        let whole = count - count % LANES;
        for start in (0..whole).step_by(LANES) {
            for (lane, sum) in lanes.iter_mut().enumerate() {
                *sum += term(start + lane);
            }
        }
        let rest: f32 = (whole..count).map(&term).sum();
        lanes.into_iter().chain([rest]).map(f64::from).sum()
    }

    pub(super) fn forward(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        shortcut: Option<FlexTensor>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Flex> {
        let [x, gamma, beta] = [x, gamma, beta].map(|tensor| tensor.to_contiguous());
        let shortcut = shortcut.map(|shortcut| shortcut.to_contiguous());
        let extent = Extent::of(&x);
        let shape = x.layout().shape().clone();
        let (x, gamma, beta) = (values(&x), values(&gamma), values(&beta));
        let statistics = cpu::map(extent.channels, |channel| {
            // Plane by plane, so that a plane is read from memory once (Chan et al. 1983).
            let count = extent.plane as f64;
            let (mut seen, mut mean, mut squares) = (0.0, 0.0, 0.0);
            for plane in extent.planes(x, channel) {
                let own = sum(plane.len(), |i| plane[i]) / count;
                let centre = own as f32;
                let own_squares = sum(plane.len(), |i| (plane[i] - centre) * (plane[i] - centre));
                let delta = own - mean;
                mean += delta * count / (seen + count);
                squares += own_squares + delta * delta * seen * count / (seen + count);
                seen += count;
            }
            (mean as f32, (squares / seen) as f32)
        });
        let mut output = vec![0.0; x.len()];
        per_plane(extent, &mut output, |index, output| {
            let channel = index % extent.channels;
            let (mean, variance) = statistics[channel];
            let scale = gamma[channel] / (f64::from(variance) + epsilon).sqrt() as f32;
            let shift = beta[channel] - mean * scale;
            let x = &x[index * extent.plane..][..extent.plane];
            let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
            match &shortcut {
                None => {
                    for (output, x) in output.iter_mut().zip(x) {
                        *output = at_least(x * scale + shift, floor);
                    }
                }
                Some(shortcut) => {
                    let shortcut = &values(shortcut)[index * extent.plane..][..extent.plane];
                    for ((output, x), shortcut) in output.iter_mut().zip(x).zip(shortcut) {
                        *output = at_least(x * scale + shift + shortcut, floor);
                    }
                }
            }
        });
        let (mean, variance) = statistics.into_iter().unzip();
        let channels = [extent.channels];
        (tensor(output, shape), tensor(mean, channels), tensor(variance, channels))
    }

    /// Unlike `f32::max`, keeps NaN: a diverged run must show.
    #[inline(always)]
    fn at_least(x: f32, floor: f32) -> f32 {
        if x < floor { floor } else { x }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn backward(
        x: FlexTensor,
        output: FlexTensor,
        gamma: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        gradient: FlexTensor,
        epsilon: f64,
        relu: bool,
    ) -> Gradient<Flex> {
        let [x, output, gradient] = [x, output, gradient].map(|tensor| tensor.to_contiguous());
        let [gamma, mean, variance] = [gamma, mean, variance].map(|tensor| tensor.to_contiguous());
        let extent = Extent::of(&x);
        let shape = x.layout().shape().clone();
        let (x, output, gradient) = (values(&x), values(&output), values(&gradient));
        let (gamma, mean, variance) = (values(&gamma), values(&mean), values(&variance));
        // NaN passes, as in the forward.
        let let_through = |output: f32, gradient: f32| if relu && output <= 0.0 { 0.0 } else { gradient };
        // Sums of the gradient, and of the gradient times the normalised input.
        let sums = cpu::map(extent.channels, |channel| {
            let planes =
                || extent.planes(x, channel).zip(extent.planes(output, channel)).zip(extent.planes(gradient, channel));
            let sums =
                planes().map(|((_, output), gradient)| sum(extent.plane, |i| let_through(output[i], gradient[i])));
            let products = planes().map(|((x, output), gradient)| {
                sum(extent.plane, |i| let_through(output[i], gradient[i]) * (x[i] - mean[channel]))
            });
            let deviation = (f64::from(variance[channel]) + epsilon).sqrt();
            (sums.sum::<f64>(), products.sum::<f64>() / deviation)
        });
        let mut x_gradient = vec![0.0; x.len()];
        per_plane(extent, &mut x_gradient, |index, x_gradient| {
            let channel = index % extent.channels;
            let (sum, product) = sums[channel];
            let deviation = (f64::from(variance[channel]) + epsilon).sqrt();
            let scale = (f64::from(gamma[channel]) / deviation) as f32;
            // dx = scale * (dy - mean(dy) - xhat * mean(dy xhat)), gathered by powers of x.
            let slope = -(product / extent.samples() / deviation) as f32;
            let offset = -(sum / extent.samples()) as f32;
            let mean = mean[channel];
            let [x, output, gradient] = [x, output, gradient].map(|of| &of[index * extent.plane..][..extent.plane]);
            for (i, x_gradient) in x_gradient.iter_mut().enumerate() {
                *x_gradient = scale * (let_through(output[i], gradient[i]) + offset + slope * (x[i] - mean));
            }
        });
        let (beta_gradient, gamma_gradient): (Vec<f32>, Vec<f32>) =
            sums.into_iter().map(|(sum, product)| (sum as f32, product as f32)).unzip();
        let channels = [extent.channels];
        (tensor(x_gradient, shape), tensor(gamma_gradient, channels), tensor(beta_gradient, channels))
    }
}

impl NormBackend for Flex {
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Self> {
        if cpu::is_f32(&x) {
            fused::forward(x, gamma, beta, None, epsilon, relu)
        } else {
            plain::norm::<Self>(x, gamma, beta, epsilon, relu)
        }
    }

    fn norm_add_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f64,
    ) -> Forward<Self> {
        if cpu::is_f32(&x) {
            fused::forward(x, gamma, beta, Some(shortcut), epsilon, true)
        } else {
            plain::norm_add_relu::<Self>(x, gamma, beta, shortcut, epsilon)
        }
    }

    fn norm_backward(
        x: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Gradient<Self> {
        if cpu::is_f32(&x) {
            fused::backward(x, output, gamma, mean, variance, gradient, epsilon, relu)
        } else {
            plain::norm_backward::<Self>(x, output, gamma, mean, variance, gradient, epsilon, relu)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> bool {
        let [found, expected] = [found, expected].map(|tensor| tensor.into_data().iter::<f32>().collect::<Vec<_>>());
        let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
        found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 2e-5 * largest)
    }

    #[test]
    fn the_fused_form_is_the_plain_one_forward_and_backward() {
        let device = Device::flex();
        for (batch, channels, height, width) in [(2, 3, 4, 5), (8, 12, 1, 1), (3, 1, 17, 9)] {
            let shape = [batch, channels, height, width];
            let random = || Tensor::<4>::random(shape, Distribution::Normal(0.5, 2.0), &device);
            let vector = || Tensor::<1>::random([channels], Distribution::Normal(1.0, 0.5), &device);
            let (x, gamma, beta, shortcut, cotangent) = (random(), vector(), vector(), random(), random());
            type Form = fn(Tensor<4>, Tensor<1>, Tensor<1>, f64, Then<Tensor<4>>) -> Normalised;
            for kind in 0..3 {
                let run = |form: Form| {
                    let [x, shortcut] = [&x, &shortcut].map(|leaf| leaf.clone().autodiff().require_grad());
                    let [gamma, beta] = [&gamma, &beta].map(|leaf| leaf.clone().autodiff().require_grad());
                    let then = [Then::Nothing, Then::Relu, Then::AddRelu(shortcut.clone())][kind].clone();
                    let result = form(x.clone(), gamma.clone(), beta.clone(), 1e-5, then);
                    let gradients = (result.output.clone() * cotangent.clone()).sum().backward();
                    let large = [Some(result.output.without_autodiff()), x.grad(&gradients), shortcut.grad(&gradients)];
                    let small =
                        [Some(result.mean), Some(result.variance), gamma.grad(&gradients), beta.grad(&gradients)];
                    (large, small)
                };
                let (found, expected) = (run(batch_norm_train), run(batch_norm_train_plain));
                for (found, expected) in found.0.into_iter().zip(expected.0) {
                    assert_eq!(found.is_some(), expected.is_some());
                    assert!(
                        found.zip(expected).is_none_or(|(found, expected)| close(found, expected)),
                        "{shape:?}, {kind}"
                    );
                }
                for (found, expected) in found.1.into_iter().zip(expected.1) {
                    assert!(close(found.unwrap(), expected.unwrap()), "{shape:?}, {kind}");
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_no_number_shows() {
        let device = Device::flex();
        let x = Tensor::<4>::full([2, 1, 2, 2], f32::NAN, &device);
        let one = Tensor::<1>::ones([1], &device);
        let result = batch_norm_train(x, one.clone(), one, 1e-5, Then::Relu);
        assert!(result.output.into_data().iter::<f32>().all(f32::is_nan));
    }
}
