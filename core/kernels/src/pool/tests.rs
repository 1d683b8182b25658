use burn::tensor::{Device, Distribution, FloatDType, Tensor};

use super::{max_pool, max_pool_plain};

#[test]
fn fused_pooling_matches_plain() {
    for (height, width) in [(1, 1), (2, 3), (7, 8), (33, 40)] {
        let random = |shape: [usize; 4]| Tensor::random(shape, Distribution::Default, &Device::flex());
        // Some values of a window are equal.
        let x = random([2, 3, height, width]).mul_scalar(8.0).floor().sub_scalar(4.0);
        let cotangent = random([2, 3, height.div_ceil(2), width.div_ceil(2)]);
        let run = |form: fn(Tensor<4>) -> Tensor<4>| {
            let x = x.clone().autodiff().require_grad();
            let output = form(x.clone());
            let gradients = (output.clone() * cotangent.clone()).sum().backward();
            [output.without_autodiff(), x.grad(&gradients).expect("the loss reaches the input")]
        };
        for (found, expected) in run(max_pool).into_iter().zip(run(max_pool_plain)) {
            found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Default::default());
        }
    }
}

#[test]
fn nan_is_kept() {
    let x = Tensor::<4>::from_floats([[[[1.0, f32::NAN, 2.0, 5.0]]]], &Device::flex());
    let pooled: Vec<f32> = max_pool(x).into_data().iter().collect();
    assert!(pooled.iter().all(|value| value.is_nan()), "{pooled:?}");
}

/// Values of bfloat16 whose sums are such values, too.
#[cfg(target_arch = "x86_64")]
#[test]
fn pooling_of_bf16_is_that_of_f32() {
    for (height, width) in [(2, 3), (7, 8), (33, 40)] {
        let random = |shape: [usize; 4]| Tensor::random(shape, Distribution::Default, &Device::flex()).mul_scalar(16.0);
        let x = random([2, 3, height, width]).floor();
        let cotangent = random([2, 3, height.div_ceil(2), width.div_ceil(2)]).floor();
        let run = |dtype| {
            let x = x.clone().autodiff().require_grad();
            let output = max_pool(x.clone().cast(dtype)).cast(FloatDType::F32);
            let gradients = (output.clone() * cotangent.clone()).sum().backward();
            [output.without_autodiff(), x.grad(&gradients).unwrap()].map(|tensor| tensor.into_data())
        };
        assert_eq!(run(FloatDType::BF16), run(FloatDType::F32), "{height} x {width}");
    }
}
