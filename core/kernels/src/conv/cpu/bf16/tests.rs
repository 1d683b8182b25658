use burn::{backend::flex::FlexTensor, tensor::bf16};

use super::{Unit, forward, input_gradient, weight_gradient};
use crate::{
    conv::{
        cpu,
        types::{ConvInput, Factors},
    },
    cpu::{tensor, values},
};

/// Returns values without a pattern, as they are and rounded to bfloat16.
fn tensors(shape: [usize; 4], seed: usize) -> [FlexTensor; 2] {
    let count = shape.iter().product();
    let exact: Vec<f32> = (seed..).map(|place| (place as f32 * 7919.0).sin()).take(count).collect();
    let rounded = exact.iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
    [exact, rounded].map(|values| tensor(values, shape))
}

/// Products of bfloat16 are exact in f32, so only the order of sums differs.
#[test]
fn convolution_is_that_of_rounded_factors() {
    let Some(unit) = Unit::get() else { return };
    for [batch, inputs, outputs, kernel, stride, height, width] in [
        [1, 1, 1, 1, 1, 1, 1],
        [2, 3, 16, 3, 1, 8, 8],
        [3, 4, 12, 3, 2, 7, 9],
        [9, 5, 7, 3, 1, 1, 4],
        [2, 8, 6, 1, 2, 5, 6],
        [2, 3, 4, 7, 2, 20, 17],
        [1, 40, 48, 3, 1, 33, 33],
        [5, 16, 16, 3, 1, 32, 32],
        [8, 64, 64, 3, 1, 8, 8],
        [3, 96, 40, 1, 1, 28, 28],
        [9, 34, 36, 1, 1, 7, 7],
        [2, 300, 600, 3, 1, 4, 4],
    ] {
        let x = tensors([batch, inputs, height, width], 1);
        let weight = tensors([outputs, inputs, kernel, kernel], 2);
        let gradient = tensors([batch, outputs, height.div_ceil(stride), width.div_ceil(stride)], 3);
        let [exact, rounded] = [0, 1].map(|number| ConvInput {
            x: x[number].clone(),
            weight: weight[number].clone(),
            stride,
            factors: Factors::Bf16,
        });
        let found = [
            forward(unit, &exact),
            input_gradient(unit, &exact, &gradient[0]),
            weight_gradient(unit, &exact, &gradient[0]),
        ];
        let expected = [
            cpu::forward(&rounded),
            cpu::input_gradient(&rounded, &gradient[1]),
            cpu::weight_gradient(&rounded, &gradient[1]),
        ];
        for (found, expected) in found.iter().map(values).zip(expected.iter().map(values)) {
            let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
            let is_close = |(found, expected): (&f32, &f32)| (found - expected).abs() <= 2e-5 * largest;
            assert!(
                found.len() == expected.len() && found.iter().zip(expected).all(is_close),
                "{batch} images of {inputs} x {height} x {width} to {outputs}, kernel {kernel}, stride {stride}"
            );
        }
    }
}
