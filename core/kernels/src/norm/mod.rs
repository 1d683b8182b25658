//! Batch norm over the batch, with what follows it in a residual network: ReLU, the shortcut and another ReLU, or some of it.
//!
//! As separate tensor operations these read and write every activation a dozen times. The fused form on
//! the CPU reads it twice forward and twice backward, on all cores. The sums of a channel run in one
//! order whatever the number of threads, so a run repeats.

mod autodiff;
mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
mod plain;
#[cfg(test)]
mod tests;
mod types;

use burn::{
    backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor},
    tensor::{Tensor, activation::relu, module},
};

use slimclr_network::visitor::Epilogue;

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
