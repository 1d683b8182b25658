//! Reference implementations in the back end's own operations; also used for dtypes without a fused kernel.

use burn::{
    backend::{Backend, tensor::FloatTensor},
    tensor::IntDType,
};

pub fn max_pool<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::max_pool2d(x, [3; 2], [2; 2], [1; 2], [1; 2], false)
}

pub fn max_pool_backward<B: Backend>(x: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    let [kernel, stride, padding, dilation] = [[3; 2], [2; 2], [1; 2], [1; 2]];
    let places = IntDType::I32;
    let indices = B::max_pool2d_with_indices(x.clone(), kernel, stride, padding, dilation, false, places).indices;
    B::max_pool2d_with_indices_backward(x, kernel, stride, padding, dilation, false, gradient, indices).x_grad
}
