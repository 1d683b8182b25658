//! The operation of a back end's own operations: for the GPUs, and for precisions without a fused form.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};

use super::types::{Forward, Gradient};

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
