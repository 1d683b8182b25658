//! Batch norm and what follows it in a residual network: ReLU, the sum with a shortcut and ReLU, or both.
//!
//! As separate tensor operations these read and write every activation a dozen times. The fused form on the CPU reads
//! it twice forward and twice backward, on all cores. A channel is summed in an order that does not depend on the
//! number of threads, so runs are reproducible.

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

pub use self::types::{Moments, NormGradients, NormInput, NormOutput, NormSaved, Shortcut};
use crate::ranks::Ranks;

/// Result of [`batch_norm_train`].
pub struct Normalised {
    /// `[batch, channels, height, width]`.
    pub output: Tensor<4>,
    /// The batch's mean, `[channels]`, outside any graph.
    pub mean: Tensor<1>,
    /// The batch's biased variance, `[channels]`, outside any graph.
    pub variance: Tensor<1>,
}

/// Normalises `x`, `[batch, channels, height, width]`, with the batch's statistics, scales by `gamma` and shifts by
/// `beta`, `[channels]` each, and applies the epilogue.
pub fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    epilogue: Epilogue<Tensor<4>>,
) -> Normalised {
    let NormOutput { output, moments } = Dispatch::norm(input(x, [gamma, beta], epilogue), epsilon);
    Normalised {
        output: Tensor::from_dispatch(output),
        mean: Tensor::<1>::from_dispatch(moments.mean).without_autodiff(),
        variance: Tensor::<1>::from_dispatch(moments.variance).without_autodiff(),
    }
}

/// Computes [`batch_norm_train`] with the statistics of the images of all ranks, of which each has as many (PyTorch's
/// SyncBatchNorm). Gradients flow through the statistics to the images of the other ranks.
pub fn batch_norm_over(
    ranks: &Ranks,
    x: Tensor<4>,
    [gamma, beta]: [Tensor<1>; 2],
    epsilon: f64,
    epilogue: Epilogue<Tensor<4>>,
) -> Normalised {
    let [_, channels, ..] = x.dims();
    let of_channels = |values: Tensor<4>| values.mean_dim(3).mean_dim(2).mean_dim(0);
    let mean = of_channels(x.clone());
    let variance = of_channels((x.clone() - mean.clone()).powi_scalar(2));
    let of_ranks = ranks.gather(Tensor::cat(vec![mean, variance], 1).reshape([1, 2 * channels]));
    let [means, variances] = [0, channels].map(|start| of_ranks.clone().narrow(1, start, channels));
    let mean = means.clone().mean_dim(0);
    let variance = (variances + (means - mean.clone()).powi_scalar(2)).mean_dim(0);
    let [mean, variance]: [Tensor<1>; 2] = [mean, variance].map(|statistic| statistic.flatten(0, 1));
    let scale = gamma / (variance.clone() + epsilon).sqrt();
    let shift = beta - mean.clone() * scale.clone();
    Normalised {
        output: Tensor::from_dispatch(Dispatch::affine(input(x, [scale, shift], epilogue))),
        mean: mean.without_autodiff(),
        variance: variance.without_autodiff(),
    }
}

/// Computes [`batch_norm_train`] with Burn's own operations.
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

/// Normalises `x`, `[batch, channels, height, width]`, with the given statistics, scales by `gamma` and shifts by
/// `beta`, `[channels]` each, and applies the epilogue.
pub fn batch_norm_eval(
    x: Tensor<4>,
    [gamma, beta]: [Tensor<1>; 2],
    [mean, variance]: [Tensor<1>; 2],
    epsilon: f64,
    epilogue: Epilogue<Tensor<4>>,
) -> Tensor<4> {
    let scale = gamma / (variance + epsilon).sqrt();
    let shift = beta - mean * scale.clone();
    Tensor::from_dispatch(Dispatch::affine(input(x, [scale, shift], epilogue)))
}

/// Moves running mean and variance by `momentum` towards those of a batch, `[groups * channels]`, averaged over its
/// groups; `unbias` is the factor that makes the batch's variance unbiased. The running statistics have one value per
/// channel, in any shape, which is kept.
pub fn move_running(running: [Tensor<4>; 2], batch: [Tensor<1>; 2], momentum: f64, unbias: f64) -> [Tensor<4>; 2] {
    let [running_mean, running_variance] = running.map(Tensor::into_dispatch);
    let [mean, variance] = batch.map(Tensor::into_dispatch);
    let running = Moments { mean: running_mean, variance: running_variance };
    let Moments { mean, variance } = Dispatch::move_running(running, Moments { mean, variance }, momentum, unbias);
    [mean, variance].map(Tensor::from_dispatch)
}

fn input(x: Tensor<4>, [gamma, beta]: [Tensor<1>; 2], epilogue: Epilogue<Tensor<4>>) -> NormInput<Dispatch> {
    let (relu, shortcut) = match epilogue {
        Epilogue::Nothing => (false, None),
        Epilogue::Relu => (true, None),
        Epilogue::AddRelu(shortcut) => (false, Some(shortcut)),
        Epilogue::ReluAddRelu(shortcut) => (true, Some(shortcut)),
    };
    NormInput {
        x: x.into_dispatch(),
        gamma: gamma.into_dispatch(),
        beta: beta.into_dispatch(),
        relu,
        shortcut: shortcut.map_or(Shortcut::None, |shortcut| Shortcut::AddRelu(shortcut.into_dispatch())),
    }
}

/// Applies an epilogue with Burn's own operations.
fn apply(epilogue: Epilogue<Tensor<4>>, x: Tensor<4>) -> Tensor<4> {
    match epilogue {
        Epilogue::Nothing => x,
        Epilogue::Relu => relu(x),
        Epilogue::AddRelu(shortcut) => relu(x + shortcut),
        Epilogue::ReluAddRelu(shortcut) => relu(relu(x) + shortcut),
    }
}

/// Batch norm with its epilogue as one operation; by default in the back end's own operations.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait NormBackend: Backend {
    /// Normalises with the batch's statistics.
    fn norm(#[extension_type] input: NormInput<Self>, epsilon: f64) -> NormOutput<Self> {
        plain::norm(input, epsilon)
    }

    /// Computes `gamma * x + beta` per channel and the epilogue: a norm whose statistics are folded into gamma and
    /// beta.
    fn affine(#[extension_type] input: NormInput<Self>) -> FloatTensor<Self> {
        plain::affine(input)
    }

    /// See [`move_running`].
    fn move_running(
        #[extension_type] running: Moments<Self>,
        #[extension_type] batch: Moments<Self>,
        momentum: f64,
        unbias: f64,
    ) -> Moments<Self> {
        plain::move_running(running, batch, momentum, unbias)
    }
}

/// The backward pass of [`NormBackend::norm`]; by default in the back end's own operations.
pub trait NormBackward: NormBackend {
    /// Returns the gradients of the inputs, given that of the output.
    fn norm_backward(saved: NormSaved<Self>, gradient: FloatTensor<Self>) -> NormGradients<Self> {
        plain::norm_backward(saved, gradient)
    }
}
