use burn::{
    backend::flex::FlexTensor,
    tensor::{DType, bf16},
};

use super::{Unit, forward, input_gradient, weight_gradient};
use crate::{
    conv::{cpu, types::ConvInput},
    cpu::{tensor, values},
};

/// Returns values of bfloat16 without a pattern, in that type and in f32.
fn tensors(shape: [usize; 4], seed: usize) -> [FlexTensor; 2] {
    let count = shape.iter().product();
    let narrow: Vec<_> = (seed..).map(|place| bf16::from_f32((place as f32 * 7919.0).sin())).take(count).collect();
    let wide: Vec<f32> = narrow.iter().map(|value| value.to_f32()).collect();
    [tensor(narrow, shape), tensor(wide, shape)]
}

fn wide(x: &FlexTensor) -> Vec<f32> {
    match x.dtype() {
        DType::BF16 => values::<bf16>(x).iter().map(|value| value.to_f32()).collect(),
        _ => values::<f32>(x).to_vec(),
    }
}

/// Products of bfloat16 are exact in f32, so only the order of sums and the rounding of activations differ.
#[test]
fn convolution_is_that_of_rounded_factors() {
    for unit in [Unit::matrix(), Unit::vectors()].into_iter().flatten() {
        convolves(unit);
    }
}

fn convolves(unit: Unit) {
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
        let [narrow, wide_input] = [0, 1].map(|number| ConvInput {
            x: x[number].clone(),
            // Weights are in f32 in either case.
            weight: weight[1].clone(),
            stride,
        });
        let found = [
            forward(unit, &narrow),
            input_gradient(unit, &narrow, &gradient[0]),
            weight_gradient(unit, &narrow, &gradient[0]),
        ];
        let expected = [
            cpu::forward::<f32>(&wide_input),
            cpu::input_gradient::<f32>(&wide_input, &gradient[1]),
            cpu::weight_gradient::<f32>(&wide_input, &gradient[1]),
        ];
        for (found, expected) in found.iter().zip(&expected) {
            let rounding = if found.dtype() == DType::BF16 { 1.0 / 256.0 } else { 0.0 };
            let (found, expected) = (wide(found), wide(expected));
            let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
            let is_close = |(found, expected): (&f32, &f32)| {
                (found - expected).abs() <= 2e-5 * largest + rounding * expected.abs()
            };
            assert!(
                found.len() == expected.len() && found.iter().zip(&expected).all(is_close),
                "{unit:?}: {batch} images of {inputs} x {height} x {width} to {outputs}, kernel {kernel}, stride {stride}"
            );
        }
    }
}
