//! Square convolution without bias.
//!
//! Burn's CPU back end converts every activation to another layout and back, and computes the weight's gradient as a
//! convolution with a kernel the size of the image. The fused form needs no other layout.

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
    tensor::{Tensor, module},
};

pub use self::types::ConvInput;

/// Convolves `x`, `[batch, in, height, width]`, with `weight`, `[out, in / groups, kernel, kernel]`, zero-padded by
/// `kernel / 2`, to `[batch, out, height / stride, width / stride]`, rounded up. The number of groups follows from
/// these shapes; a depthwise convolution has as many as channels.
///
/// The output and the gradient of `x` have the dtype of `x`, and the gradient of the weight that of the weight. On a CPU
/// with [`has_bf16`], `x` may be in bfloat16 and the weight in f32; the weight is then rounded, and sums are in f32.
pub fn conv(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::conv(input(x, weight, stride)))
}

/// Returns whether this CPU multiplies bfloat16, by a matrix unit or by vectors.
pub fn has_bf16() -> bool {
    cpu::has_bf16()
}

/// Returns whether this CPU has a matrix unit for bfloat16 (AMX), which is several times as fast as vectors.
pub fn has_matrix_unit() -> bool {
    cpu::has_matrix_unit()
}

/// Returns `output`, which is that of [`conv`], as its result in the graph: only the backward pass remains to compute.
pub fn conv_known(x: Tensor<4>, weight: Tensor<4>, output: Tensor<4>, stride: usize) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::conv_known(input(x, weight, stride), output.into_dispatch()))
}

/// Computes [`conv`] with Burn's own operation.
pub fn conv_plain(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    let options = plain::options(x.shape(), weight.shape(), stride);
    module::conv2d(x, weight, None, options)
}

fn input(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> ConvInput<Dispatch> {
    ConvInput { x: x.into_dispatch(), weight: weight.into_dispatch(), stride }
}

/// The convolution as an operation of a back end; by default its own.
#[cfg_attr(feature = "webgpu", backend_extension(Flex, Cube, Autodiff))]
#[cfg_attr(not(feature = "webgpu"), backend_extension(Flex, Autodiff))]
pub trait ConvBackend: Backend {
    /// See [`conv`].
    fn conv(#[extension_type] input: ConvInput<Self>) -> FloatTensor<Self> {
        plain::conv(input)
    }

    /// See [`conv_known`].
    fn conv_known(#[extension_type] _input: ConvInput<Self>, output: FloatTensor<Self>) -> FloatTensor<Self> {
        output
    }
}

/// The backward pass of [`ConvBackend::conv`]; by default in the back end's own operations.
pub trait ConvBackward: ConvBackend {
    /// Returns the gradient of `x`, given that of the output.
    fn conv_input_gradient(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::input_gradient(input, gradient)
    }

    /// Returns the gradient of the weight, given that of the output.
    fn conv_weight_gradient(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::weight_gradient(input, gradient)
    }

    /// Returns the gradients of `x` and of the weight, given that of the output.
    fn conv_gradients(input: ConvInput<Self>, gradient: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let x = Self::conv_input_gradient(input.clone(), gradient.clone());
        (x, Self::conv_weight_gradient(input, gradient))
    }
}
