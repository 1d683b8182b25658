//! Batch norm: see [`crate::norm`].
//!
//! A workgroup takes a channel, or some channels side by side where those of a pixel are neighbours in memory, and sums
//! over it; where it can read all of it in little time it goes on to write the result in the same launch. Larger
//! channels are summed in parts by one launch, which another one puts together before it writes.

mod backward;
mod extent;
mod forward;
mod launch;
mod running;

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use self::{backward::backward, forward::forward};
use super::{
    NormBackend, plain,
    types::{Forward, Gradient},
};
use crate::gpu::is_f32;

impl NormBackend for CubeBackend {
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> Forward<Self> {
        if is_f32(&x) {
            forward(x, gamma, beta, None, epsilon, relu)
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
            forward(x, gamma, beta, Some(shortcut), epsilon, relu)
        } else {
            plain::norm_add_relu::<Self>(x, gamma, beta, shortcut, epsilon, relu)
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
            backward(x, None, [gamma, beta], [mean, variance], gradient, epsilon, relu).0
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
        if is_f32(&x) {
            let (gradient, shortcut) =
                backward(x, Some(output), [gamma, beta], [mean, variance], gradient, epsilon, relu);
            (gradient.0, gradient.1, gradient.2, shortcut.expect("it was asked for"))
        } else {
            plain::norm_add_relu_backward::<Self>(x, output, gamma, beta, mean, variance, gradient, epsilon, relu)
        }
    }

    fn move_running(
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        momentum: f64,
        unbias: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&mean) {
            return plain::move_running::<Self>(running_mean, running_variance, mean, variance, momentum, unbias);
        }
        let [mean, variance] = running::run([running_mean, running_variance], [mean, variance], momentum, unbias);
        (mean, variance)
    }
}
