//! Reference implementations in the back end's own operations; also used for dtypes without a fused kernel.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};

use super::types::{Moments, NormGradients, NormInput, NormOutput, NormSaved, Shortcut};

pub fn norm<B: Backend>(input: NormInput<B>, epsilon: f64) -> NormOutput<B> {
    let NormInput { x, gamma, beta, relu, shortcut } = input;
    let result = B::batch_norm_train(x, gamma, beta, epsilon);
    let moments = Moments { mean: result.mean, variance: result.variance };
    NormOutput { output: epilogue(result.output, relu, shortcut), moments }
}

pub fn norm_backward<B: Backend>(saved: NormSaved<B>, gradient: FloatTensor<B>) -> NormGradients<B> {
    let NormSaved { x, gamma, beta, relu, moments: Moments { mean, variance }, epsilon, output } = saved;
    // The last ReLU follows the sum, so both terms have the gradient that it lets through.
    let (gradient, shortcut) = match output {
        None => (gradient, None),
        Some(output) => {
            let gradient = B::relu_backward(output, gradient);
            (gradient.clone(), Some(gradient))
        }
    };
    let gradient = if relu {
        let deviation = B::float_sqrt(B::float_add_scalar(variance.clone(), epsilon.into()));
        let scale = B::float_div(gamma.clone(), deviation);
        let shift = B::float_sub(beta, B::float_mul(mean.clone(), scale.clone()));
        B::relu_backward(scale_and_shift::<B>(x.clone(), scale, shift), gradient)
    } else {
        gradient
    };
    let result = B::batch_norm_train_backward(x, gamma, mean, variance, epsilon, gradient);
    NormGradients { x: result.x_grad, gamma: result.gamma_grad, beta: result.beta_grad, shortcut }
}

pub fn affine<B: Backend>(input: NormInput<B>) -> FloatTensor<B> {
    let NormInput { x, gamma, beta, relu, shortcut } = input;
    epilogue(scale_and_shift::<B>(x, gamma, beta), relu, shortcut)
}

fn scale_and_shift<B: Backend>(x: FloatTensor<B>, scale: FloatTensor<B>, shift: FloatTensor<B>) -> FloatTensor<B> {
    let of_channels = |vector: FloatTensor<B>| {
        let channels = vector.shape().num_elements();
        B::float_reshape(vector, [1, channels, 1, 1].into())
    };
    B::float_add(B::float_mul(x, of_channels(scale)), of_channels(shift))
}

fn epilogue<B: Backend>(x: FloatTensor<B>, relu: bool, shortcut: Shortcut<B>) -> FloatTensor<B> {
    let x = if relu { B::relu(x) } else { x };
    match shortcut {
        Shortcut::None => x,
        Shortcut::AddRelu(shortcut) => B::relu(B::float_add(x, shortcut)),
    }
}

pub fn move_running<B: Backend>(running: Moments<B>, batch: Moments<B>, momentum: f64, unbias: f64) -> Moments<B> {
    let towards = |running: FloatTensor<B>, batch: FloatTensor<B>, share: f64| {
        let (shape, channels) = (running.shape(), running.shape().num_elements());
        let groups = batch.shape().num_elements() / channels;
        let average = B::float_mean_dim(B::float_reshape(batch, [groups, channels].into()), 0);
        let kept = B::float_mul_scalar(running, (1.0 - momentum).into());
        B::float_add(kept, B::float_mul_scalar(B::float_reshape(average, shape), share.into()))
    };
    Moments {
        mean: towards(running.mean, batch.mean, momentum),
        variance: towards(running.variance, batch.variance, momentum * unbias),
    }
}
