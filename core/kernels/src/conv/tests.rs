use burn::tensor::{Device, Distribution, Tensor};

use super::{conv, conv_known, conv_plain};

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

fn close(found: &[f32], expected: &[f32]) -> bool {
    let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 2e-5 * largest)
}

fn known(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    let [x_values, weight_values] = [&x, &weight].map(|tensor| tensor.clone().without_autodiff());
    conv_known(x, weight, conv(x_values, weight_values, stride), stride)
}

#[cfg(target_arch = "x86_64")]
fn in_bf16(x: Tensor<4>, weight: Tensor<4>, stride: usize) -> Tensor<4> {
    use burn::tensor::FloatDType;

    conv(x.cast(FloatDType::BF16), weight, stride).cast(FloatDType::F32)
}

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
struct Case {
    batch: usize,
    groups: usize,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    height: usize,
    width: usize,
}

impl Case {
    /// Returns random inputs: images, a weight and the output's gradient.
    fn inputs(self) -> [Tensor<4>; 3] {
        let Self { batch, groups, inputs, outputs, kernel, stride, height, width } = self;
        let random = |shape| Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
        [
            random([batch, inputs, height, width]),
            random([outputs, inputs / groups, kernel, kernel]),
            random([batch, outputs, height.div_ceil(stride), width.div_ceil(stride)]),
        ]
    }
}

/// Returns the output and the gradients of `x` and the weight.
fn run(form: fn(Tensor<4>, Tensor<4>, usize) -> Tensor<4>, inputs: &[Tensor<4>; 3], stride: usize) -> [Vec<f32>; 3] {
    let [x, weight, cotangent] = inputs;
    let [x, weight] = [x, weight].map(|leaf| leaf.clone().autodiff().require_grad());
    let output = form(x.clone(), weight.clone(), stride);
    let gradients = (output.clone() * cotangent.clone()).sum().backward();
    [output.without_autodiff(), x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap()].map(values)
}

fn cases() -> impl Iterator<Item = Case> {
    [
        (2, 1, 3, 16, 3, 1, 8, 8),
        (3, 1, 4, 12, 3, 2, 7, 9),
        (9, 1, 5, 7, 3, 1, 1, 4),
        (2, 1, 8, 6, 1, 1, 5, 3),
        (2, 1, 8, 6, 1, 2, 5, 6),
        (2, 1, 3, 4, 7, 2, 20, 17),
        (1, 1, 40, 48, 3, 1, 33, 33),
        (2, 2, 4, 6, 3, 1, 6, 5),
        (9, 6, 6, 6, 3, 1, 7, 8),
        (3, 6, 6, 6, 5, 2, 9, 10),
        (5, 1, 20, 40, 3, 1, 32, 32),
        (5, 1, 60, 40, 1, 1, 7, 7),
        (2, 1, 16, 24, 3, 2, 9, 10),
        (2, 1, 8, 10, 7, 2, 20, 17),
        (2, 1, 300, 600, 3, 1, 4, 4),
    ]
    .into_iter()
    .map(|(batch, groups, inputs, outputs, kernel, stride, height, width)| Case {
        batch,
        groups,
        inputs,
        outputs,
        kernel,
        stride,
        height,
        width,
    })
}

#[test]
fn fused_convolution_matches_plain() {
    for case in cases() {
        let inputs = case.inputs();
        let expected = run(conv_plain, &inputs, case.stride);
        let found = [run(conv, &inputs, case.stride), run(known, &inputs, case.stride)];
        for (found, expected) in found.iter().flatten().zip(expected.iter().cycle()) {
            assert!(close(found, expected), "{case:?}");
        }
    }
}

/// Rounding changes a factor by at most 2^-8 of it, and so a product by at most 2^-7 and a little.
#[cfg(target_arch = "x86_64")]
#[test]
fn convolution_in_bf16_is_near_that_in_f32() {
    for case in cases() {
        let inputs = case.inputs();
        let bounds = run(conv, &inputs.each_ref().map(|x| x.clone().abs()), case.stride);
        let (found, expected) = (run(in_bf16, &inputs, case.stride), run(conv, &inputs, case.stride));
        for ((found, expected), bounds) in found.iter().zip(&expected).zip(&bounds) {
            for ((found, expected), bound) in found.iter().zip(expected).zip(bounds) {
                assert!((found - expected).abs() <= bound / 120.0, "{case:?}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn depthwise_convolution_matches_its_definition() {
    let [channels, height, width] = [3, 7, 6];
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
        let random = |shape: [usize; 4]| Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
        let (x, weight) = (random([2, channels, height, width]), random([channels, 1, kernel, kernel]));
        let output = values(conv(x.clone(), weight.clone(), stride));
        let (x, weight) = (values(x), values(weight));
        let mut expected = Vec::new();
        for (plane, x) in x.chunks_exact(height * width).enumerate() {
            for top in (0..height).step_by(stride) {
                for left in (0..width).step_by(stride) {
                    let mut sum = 0.0;
                    for (dy, dx) in (0..kernel).flat_map(|dy| (0..kernel).map(move |dx| (dy, dx))) {
                        let [y, column] = [top + dy, left + dx].map(|place| place.wrapping_sub(kernel / 2));
                        if y < height && column < width {
                            let weight = weight[(plane % channels * kernel + dy) * kernel + dx];
                            sum += weight * x[y * width + column];
                        }
                    }
                    expected.push(sum);
                }
            }
        }
        assert!(close(&output, &expected), "kernel {kernel}, stride {stride}");
    }
}
