//! Batch norm over the batch, with what follows it in a residual network: ReLU, the shortcut and another ReLU, or some of it.
//!
//! As separate tensor operations these read and write every activation a dozen times. The fused form on
//! the CPU reads it twice forward and twice backward, on all cores. The sums of a channel run in one
//! order whatever the number of threads, so a run repeats.

mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;

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

use slimclr_network::visitor::Epilogue;

use crate::cpu::is_f32;

/// Applies what follows a norm to its output `x`.
fn apply(epilogue: Epilogue<Tensor<4>>, x: Tensor<4>) -> Tensor<4> {
    match epilogue {
        Epilogue::Nothing => x,
        Epilogue::Relu => relu(x),
        Epilogue::AddRelu(shortcut) => relu(x + shortcut),
        Epilogue::ReluAddRelu(shortcut) => relu(relu(x) + shortcut),
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
    epilogue: Epilogue<Tensor<4>>,
) -> Normalised {
    let [x, gamma, beta] = [x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch()];
    let (output, mean, variance) = match epilogue {
        Epilogue::Nothing => Dispatch::norm(x, gamma, beta, epsilon, false),
        Epilogue::Relu => Dispatch::norm(x, gamma, beta, epsilon, true),
        Epilogue::AddRelu(shortcut) => {
            Dispatch::norm_add_relu(x, gamma, beta, shortcut.into_dispatch(), epsilon, false)
        }
        Epilogue::ReluAddRelu(shortcut) => {
            Dispatch::norm_add_relu(x, gamma, beta, shortcut.into_dispatch(), epsilon, true)
        }
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
    epilogue: Epilogue<Tensor<4>>,
) -> Normalised {
    let plain = module::batch_norm_train(x, gamma, beta, epsilon);
    Normalised {
        output: apply(epilogue, plain.output),
        mean: plain.mean.without_autodiff(),
        variance: plain.variance.without_autodiff(),
    }
}

/// Normalises `x`, `[batch, channels, height, width]`, by given statistics, `[channels]` each, scales, shifts and does what
/// follows.
pub fn batch_norm_eval(
    x: Tensor<4>,
    [gamma, beta]: [Tensor<1>; 2],
    [mean, variance]: [Tensor<1>; 2],
    epsilon: f64,
    epilogue: Epilogue<Tensor<4>>,
) -> Tensor<4> {
    let scale = gamma / (variance + epsilon).sqrt();
    let shift = beta - mean * scale.clone();
    let [x, scale, shift] = [x.into_dispatch(), scale.into_dispatch(), shift.into_dispatch()];
    Tensor::from_dispatch(match epilogue {
        Epilogue::Nothing => Dispatch::affine(x, scale, shift, false),
        Epilogue::Relu => Dispatch::affine(x, scale, shift, true),
        Epilogue::AddRelu(shortcut) => Dispatch::affine_add_relu(x, scale, shift, shortcut.into_dispatch(), false),
        Epilogue::ReluAddRelu(shortcut) => Dispatch::affine_add_relu(x, scale, shift, shortcut.into_dispatch(), true),
    })
}

/// Output, mean and biased variance.
pub(super) type Forward<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);
/// Gradients of the input, of gamma and of beta.
pub(super) type Gradient<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

pub(crate) mod plain {
    //! The operation of a back end's own operations: for the GPUs, and for precisions without a fused form.

    use burn::backend::TensorMetadata;

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
        relu: bool,
    ) -> Forward<B> {
        let (output, mean, variance) = norm::<B>(x, gamma, beta, epsilon, relu);
        (B::relu(B::float_add(output, shortcut)), mean, variance)
    }

    #[allow(clippy::too_many_arguments)]
    pub fn norm_backward<B: Backend>(
        x: FloatTensor<B>,
        gamma: FloatTensor<B>,
        beta: FloatTensor<B>,
        mean: FloatTensor<B>,
        variance: FloatTensor<B>,
        gradient: FloatTensor<B>,
        epsilon: f64,
        relu: bool,
    ) -> Gradient<B> {
        let gradient = if relu {
            let deviation = B::float_sqrt(B::float_add_scalar(variance.clone(), epsilon.into()));
            let scale = B::float_div(gamma.clone(), deviation);
            let shift = B::float_sub(beta, B::float_mul(mean.clone(), scale.clone()));
            B::relu_backward(affine::<B>(x.clone(), scale, shift, false), gradient)
        } else {
            gradient
        };
        let result = B::batch_norm_train_backward(x, gamma, mean, variance, epsilon, gradient);
        (result.x_grad, result.gamma_grad, result.beta_grad)
    }

    #[allow(clippy::too_many_arguments)]
    pub fn norm_add_relu_backward<B: Backend>(
        x: FloatTensor<B>,
        output: FloatTensor<B>,
        gamma: FloatTensor<B>,
        beta: FloatTensor<B>,
        mean: FloatTensor<B>,
        variance: FloatTensor<B>,
        gradient: FloatTensor<B>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
        // The last ReLU stands after the sum, so both its terms have the gradient that it lets through.
        let shortcut = B::relu_backward(output, gradient);
        let (x, gamma, beta) = norm_backward::<B>(x, gamma, beta, mean, variance, shortcut.clone(), epsilon, relu);
        (x, gamma, beta, shortcut)
    }

    pub fn affine<B: Backend>(
        x: FloatTensor<B>,
        scale: FloatTensor<B>,
        shift: FloatTensor<B>,
        relu: bool,
    ) -> FloatTensor<B> {
        let of_channels = |vector: FloatTensor<B>| {
            let channels = vector.shape().num_elements();
            B::float_reshape(vector, [1, channels, 1, 1].into())
        };
        let output = B::float_add(B::float_mul(x, of_channels(scale)), of_channels(shift));
        if relu { B::relu(output) } else { output }
    }

    pub fn affine_add_relu<B: Backend>(
        x: FloatTensor<B>,
        scale: FloatTensor<B>,
        shift: FloatTensor<B>,
        shortcut: FloatTensor<B>,
        relu: bool,
    ) -> FloatTensor<B> {
        B::relu(B::float_add(affine::<B>(x, scale, shift, relu), shortcut))
    }

    pub fn move_running<B: Backend>(
        running_mean: FloatTensor<B>,
        running_variance: FloatTensor<B>,
        mean: FloatTensor<B>,
        variance: FloatTensor<B>,
        momentum: f64,
        unbias: f64,
    ) -> (FloatTensor<B>, FloatTensor<B>) {
        let towards = |running: FloatTensor<B>, batch: FloatTensor<B>, share: f64| {
            let (shape, channels) = (running.shape(), running.shape().num_elements());
            let groups = batch.shape().num_elements() / channels;
            let average = B::float_mean_dim(B::float_reshape(batch, [groups, channels].into()), 0);
            let kept = B::float_mul_scalar(running, (1.0 - momentum).into());
            B::float_add(kept, B::float_mul_scalar(B::float_reshape(average, shape), share.into()))
        };
        (towards(running_mean, mean, momentum), towards(running_variance, variance, momentum * unbias))
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

    /// Batch norm, then ReLU if `relu`, plus the shortcut, then ReLU.
    fn norm_add_relu(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::norm_add_relu::<Self>(x, gamma, beta, shortcut, epsilon, relu)
    }

    /// Gradients of the input, gamma and beta, given the forward's mean and variance.
    #[allow(clippy::too_many_arguments)]
    fn norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::norm_backward::<Self>(x, gamma, beta, mean, variance, gradient, epsilon, relu)
    }

    /// Gradients of the input, gamma, beta and the shortcut. `output` is the forward's, whose zeros the last ReLU made.
    #[allow(clippy::too_many_arguments)]
    fn norm_add_relu_backward(
        x: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::norm_add_relu_backward::<Self>(x, output, gamma, beta, mean, variance, gradient, epsilon, relu)
    }

    /// `x * scale + shift`, channel by channel, then ReLU if `relu`.
    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        plain::affine::<Self>(x, scale, shift, relu)
    }

    /// `x * scale + shift`, channel by channel, then ReLU if `relu`, plus the shortcut, then ReLU.
    fn affine_add_relu(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        plain::affine_add_relu::<Self>(x, scale, shift, shortcut, relu)
    }

    /// See [`move_running`].
    fn move_running(
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        momentum: f64,
        unbias: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        plain::move_running::<Self>(running_mean, running_variance, mean, variance, momentum, unbias)
    }
}

/// Running mean and variance, moved by `momentum` towards a batch's, `[groups * channels]`, on the average of its groups;
/// `unbias` makes the batch's variance an unbiased one. Shape of the running statistics: any of so many values as there
/// are channels, kept.
pub fn move_running(
    [running_mean, running_variance]: [Tensor<4>; 2],
    [mean, variance]: [Tensor<1>; 2],
    momentum: f64,
    unbias: f64,
) -> [Tensor<4>; 2] {
    let (mean, variance) = Dispatch::move_running(
        running_mean.into_dispatch(),
        running_variance.into_dispatch(),
        mean.into_dispatch(),
        variance.into_dispatch(),
        momentum,
        unbias,
    );
    [mean, variance].map(Tensor::from_dispatch)
}

/// What the backward pass needs of the forward.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    mean: FloatTensor<B>,
    variance: FloatTensor<B>,
    epsilon: f64,
    relu: bool,
}

/// The graph's step of [`NormBackend::norm`].
#[derive(Debug)]
struct NormStep;

impl<B: NormBackend> Backward<B, 3> for NormStep {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let Saved { x, gamma, beta, mean, variance, epsilon, relu } = ops.state;
        let (x, gamma, beta) = B::norm_backward(x, gamma, beta, mean, variance, gradient, epsilon, relu);
        for (parent, gradient) in ops.parents.into_iter().zip([x, gamma, beta]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

/// The graph's step of [`NormBackend::norm_add_relu`], which needs the output, too.
#[derive(Debug)]
struct NormAddReluStep;

impl<B: NormBackend> Backward<B, 4> for NormAddReluStep {
    type State = (Saved<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (Saved { x, gamma, beta, mean, variance, epsilon, relu }, output) = ops.state;
        let (x, gamma, beta, shortcut) =
            B::norm_add_relu_backward(x, output, gamma, beta, mean, variance, gradient, epsilon, relu);
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
        let (output, mean, variance) = B::norm(x.clone(), gamma.clone(), beta.clone(), epsilon, relu);
        let statistics = [mean.clone(), variance.clone()].map(Self::from_inner);
        let saved = Saved { x, gamma, beta, mean, variance, epsilon, relu };
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
        relu: bool,
    ) -> Forward<Self> {
        let parents = [x.node(), gamma.node(), beta.node(), shortcut.node()];
        let step = NormAddReluStep.prepare::<C>(parents).compute_bound().stateful();
        let [x, gamma, beta, shortcut] = [x, gamma, beta, shortcut].map(Self::inner);
        let (output, mean, variance) =
            B::norm_add_relu(x.clone(), gamma.clone(), beta.clone(), shortcut, epsilon, relu);
        let statistics = [mean.clone(), variance.clone()].map(Self::from_inner);
        let saved = Saved { x, gamma, beta, mean, variance, epsilon, relu };
        let output = match step {
            OpsKind::Tracked(step) => step.finish((saved, output.clone()), output),
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

    fn norm_add_relu_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: f64,
        _: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the gradient of the gradient is never asked for")
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
        if is_f32(&x) {
            cpu::forward(&x, [&gamma, &beta], None, epsilon, relu)
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
        relu: bool,
    ) -> Forward<Self> {
        if is_f32(&x) {
            cpu::forward(&x, [&gamma, &beta], Some(&shortcut), epsilon, relu)
        } else {
            plain::norm_add_relu::<Self>(x, gamma, beta, shortcut, epsilon, relu)
        }
    }

    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        if is_f32(&x) {
            cpu::affine(&x, [&scale, &shift], None, relu)
        } else {
            plain::affine::<Self>(x, scale, shift, relu)
        }
    }

    fn affine_add_relu(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        if is_f32(&x) {
            cpu::affine(&x, [&scale, &shift], Some(&shortcut), relu)
        } else {
            plain::affine_add_relu::<Self>(x, scale, shift, shortcut, relu)
        }
    }

    fn norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Gradient<Self> {
        if is_f32(&x) {
            cpu::backward(&x, [&gamma, &beta, &mean, &variance], &gradient, epsilon, relu)
        } else {
            plain::norm_backward::<Self>(x, gamma, beta, mean, variance, gradient, epsilon, relu)
        }
    }

    fn norm_add_relu_backward(
        x: FloatTensor<Self>,
        output: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&x) {
            return plain::norm_add_relu_backward::<Self>(
                x, output, gamma, beta, mean, variance, gradient, epsilon, relu,
            );
        }
        let shortcut = cpu::relu_backward(&output, gradient);
        let (x, gamma, beta) = cpu::backward(&x, [&gamma, &beta, &mean, &variance], &shortcut, epsilon, relu);
        (x, gamma, beta, shortcut)
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
            type Form = fn(Tensor<4>, Tensor<1>, Tensor<1>, f64, Epilogue<Tensor<4>>) -> Normalised;
            for kind in 0..4 {
                let run = |form: Form| {
                    let [x, shortcut] = [&x, &shortcut].map(|leaf| leaf.clone().autodiff().require_grad());
                    let [gamma, beta] = [&gamma, &beta].map(|leaf| leaf.clone().autodiff().require_grad());
                    let [add, relu_add] = [Epilogue::AddRelu, Epilogue::ReluAddRelu].map(|then| then(shortcut.clone()));
                    let then = [Epilogue::Nothing, Epilogue::Relu, add, relu_add][kind].clone();
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
    fn given_statistics_normalise_as_by_burn() {
        let device = Device::flex();
        for shape in [[2, 3, 4, 5], [3, 12, 1, 1], [1, 1, 17, 9]] {
            let random = || Tensor::<4>::random(shape, Distribution::Normal(0.5, 2.0), &device);
            let vector = || Tensor::<1>::random([shape[1]], Distribution::Uniform(0.5, 2.0), &device);
            let (x, [gamma, beta, mean, variance]) = (random(), [(); 4].map(|()| vector()));
            let plain =
                module::batch_norm(x.clone(), gamma.clone(), beta.clone(), mean.clone(), variance.clone(), 1e-5);
            for then in
                [Epilogue::Nothing, Epilogue::Relu, Epilogue::AddRelu(random()), Epilogue::ReluAddRelu(random())]
            {
                let [affine, statistics] = [[&gamma, &beta], [&mean, &variance]].map(|pair| pair.map(Tensor::clone));
                let found = batch_norm_eval(x.clone(), affine, statistics, 1e-5, then.clone());
                assert!(close(found, apply(then.clone(), plain.clone())), "{shape:?}, {then:?}");
            }
        }
    }

    #[test]
    fn a_value_that_is_no_number_shows() {
        let device = Device::flex();
        let x = Tensor::<4>::full([2, 1, 2, 2], f32::NAN, &device);
        let one = Tensor::<1>::ones([1], &device);
        let result = batch_norm_train(x, one.clone(), one, 1e-5, Epilogue::Relu);
        assert!(result.output.into_data().iter::<f32>().all(f32::is_nan));
    }
}
