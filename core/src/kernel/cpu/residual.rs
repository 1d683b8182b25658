//! The end of a residual block on the CPU, for f32.

use std::mem::MaybeUninit;

use burn::backend::flex::FlexTensor;

use super::{at_least, tensor, values, vectorised, written};

/// `relu(a + b)`.
pub fn add_relu(a: &FlexTensor, b: &FlexTensor) -> FlexTensor {
    zip(a, b, |a, b| at_least(a + b, 0.0))
}

/// What a ReLU lets through of the gradient of its output; NaN passes, as in the forward.
pub fn relu_backward(output: &FlexTensor, gradient: &FlexTensor) -> FlexTensor {
    zip(output, gradient, |output, gradient| if output <= 0.0 { 0.0 } else { gradient })
}

/// Of each two values of `a` and `b`, images of one shape, one value.
fn zip(a: &FlexTensor, b: &FlexTensor, value: impl Fn(f32, f32) -> f32 + Sync) -> FlexTensor {
    let shape = a.layout().shape().clone();
    let image = shape.num_elements() / shape[0];
    let [a, b] = [a, b].map(FlexTensor::to_contiguous);
    let (a, b) = (values(&a), values(&b));
    let write = |number: usize, target: &mut [MaybeUninit<f32>]| {
        let place = number * image..(number + 1) * image;
        vectorised(
            #[inline(always)]
            || {
                for ((target, a), b) in target.iter_mut().zip(&a[place.clone()]).zip(&b[place.clone()]) {
                    target.write(value(*a, *b));
                }
            },
        );
    };
    // SAFETY: every value is written.
    let output = unsafe { written(a.len(), image, || (), |(), number, target| write(number, target)) };
    tensor(output, shape)
}
