//! Square convolution without bias.
//!
//! Burn's CPU back end converts every activation to another layout and back, and computes a weight's
//! gradient as a convolution with a kernel the size of the image. The form here reads the layout there is.

mod autodiff;
mod cpu;
#[cfg(feature = "webgpu")]
mod gpu;
mod plain;
#[cfg(test)]
mod tests;

use burn::{
    backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor},
    tensor::{Tensor, module},
};

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
    let options = plain::options(x.shape(), weight.shape(), stride);
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
