//! What moves all parameters at once, on the CPU, for f32.

use burn::backend::flex::FlexTensor;

use super::each;

/// Values and velocities after a step, given both, the gradient and each value's decay.
pub fn descend(tensors: [&FlexTensor; 4], momentum: f32, rate: f32) -> (FlexTensor, FlexTensor) {
    let [moved, velocities] = each(
        tensors,
        #[inline(always)]
        move |[value, velocity, gradient, decay]| {
            let velocity = momentum * velocity + (gradient + value * decay);
            [value - rate * velocity, velocity]
        },
    );
    (moved, velocities)
}

/// `keep * values + (1 - keep) * target`.
pub fn approach(tensors: [&FlexTensor; 2], keep: f64) -> FlexTensor {
    let [keep, share] = [keep as f32, (1.0 - keep) as f32];
    let [moved] = each(
        tensors,
        #[inline(always)]
        move |[value, target]| [keep * value + share * target],
    );
    moved
}
