use burn::tensor::{Device, Distribution, FloatDType, Tensor, module};
use slimclr_network::visitor::Epilogue;

use super::{Normalised, apply, batch_norm_eval, batch_norm_train, batch_norm_train_plain};

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> bool {
    let [found, expected] = [found, expected].map(values);
    let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 2e-5 * largest)
}

#[test]
fn fused_norm_matches_plain() {
    let device = Device::flex();
    for (batch, channels, height, width) in [(2, 3, 4, 5), (8, 12, 1, 1), (3, 1, 17, 9)] {
        let shape = [batch, channels, height, width];
        let random = || Tensor::<4>::random(shape, Distribution::Normal(0.5, 2.0), &device);
        let vector = || Tensor::<1>::random([channels], Distribution::Normal(1.0, 0.5), &device);
        let (x, gamma, beta, shortcut, cotangent) = (random(), vector(), vector(), random(), random());
        type Form = fn(Tensor<4>, Tensor<1>, Tensor<1>, f64, Epilogue<Tensor<4>>) -> Normalised;
        for kind in 0..4 {
            let run = |form: Form| {
                let [x, shortcut] = [&x, &shortcut].map(|leaf| leaf.clone().autodiff().require_grad());
                let [gamma, beta] = [&gamma, &beta].map(|leaf| leaf.clone().autodiff().require_grad());
                let [add, relu_add] = [Epilogue::AddRelu, Epilogue::ReluAddRelu].map(|then| then(shortcut.clone()));
                let then = [Epilogue::Nothing, Epilogue::Relu, add, relu_add][kind].clone();
                let result = form(x.clone(), gamma.clone(), beta.clone(), 1e-5, then);
                let gradients = (result.output.clone() * cotangent.clone()).sum().backward();
                let large = [Some(result.output.without_autodiff()), x.grad(&gradients), shortcut.grad(&gradients)];
                let small = [Some(result.mean), Some(result.variance), gamma.grad(&gradients), beta.grad(&gradients)];
                (large, small)
            };
            let (found, expected) = (run(batch_norm_train), run(batch_norm_train_plain));
            for (found, expected) in found.0.into_iter().zip(expected.0) {
                assert_eq!(found.is_some(), expected.is_some());
                assert!(
                    found.zip(expected).is_none_or(|(found, expected)| close(found, expected)),
                    "{shape:?}, {kind}"
                );
            }
            for (found, expected) in found.1.into_iter().zip(expected.1) {
                assert!(close(found.unwrap(), expected.unwrap()), "{shape:?}, {kind}");
            }
        }
    }
}

#[test]
fn eval_matches_burn() {
    let device = Device::flex();
    for shape in [[2, 3, 4, 5], [3, 12, 1, 1], [1, 1, 17, 9]] {
        let random = || Tensor::<4>::random(shape, Distribution::Normal(0.5, 2.0), &device);
        let vector = || Tensor::<1>::random([shape[1]], Distribution::Uniform(0.5, 2.0), &device);
        let (x, [gamma, beta, mean, variance]) = (random(), [(); 4].map(|()| vector()));
        let plain = module::batch_norm(x.clone(), gamma.clone(), beta.clone(), mean.clone(), variance.clone(), 1e-5);
        for then in [Epilogue::Nothing, Epilogue::Relu, Epilogue::AddRelu(random()), Epilogue::ReluAddRelu(random())] {
            let [affine, statistics] = [[&gamma, &beta], [&mean, &variance]].map(|pair| pair.map(Tensor::clone));
            let found = batch_norm_eval(x.clone(), affine, statistics, 1e-5, then.clone());
            assert!(close(found, apply(then.clone(), plain.clone())), "{shape:?}, {then:?}");
        }
    }
}

#[test]
fn nan_is_kept() {
    let device = Device::flex();
    let x = Tensor::<4>::full([2, 1, 2, 2], f32::NAN, &device);
    let one = Tensor::<1>::ones([1], &device);
    let result = batch_norm_train(x, one.clone(), one, 1e-5, Epilogue::Relu);
    assert!(result.output.into_data().iter::<f32>().all(f32::is_nan));
}

/// Statistics are those of the rounded input; activations and their gradients are rounded.
#[cfg(target_arch = "x86_64")]
#[test]
fn norm_of_bf16_is_that_of_f32_rounded() {
    let [narrow, wide] = [FloatDType::BF16, FloatDType::F32];
    let device = Device::flex();
    for shape in [[2, 3, 4, 5], [8, 12, 1, 1], [3, 4, 17, 9]] {
        let random = || Tensor::<4>::random(shape, Distribution::Normal(0.5, 2.0), &device).cast(narrow).cast(wide);
        let vector = || Tensor::<1>::random([shape[1]], Distribution::Normal(1.0, 0.5), &device);
        let (x, gamma, beta, shortcut, cotangent) = (random(), vector(), vector(), random(), random());
        for kind in 0..4 {
            let run = |dtype| {
                let [x, shortcut] = [&x, &shortcut].map(|leaf| leaf.clone().autodiff().require_grad());
                let [gamma, beta] = [&gamma, &beta].map(|leaf| leaf.clone().autodiff().require_grad());
                let [add, relu_add] =
                    [Epilogue::AddRelu, Epilogue::ReluAddRelu].map(|then| then(shortcut.clone().cast(dtype)));
                let then = [Epilogue::Nothing, Epilogue::Relu, add, relu_add][kind].clone();
                let result = batch_norm_train(x.clone().cast(dtype), gamma.clone(), beta.clone(), 1e-5, then);
                assert_eq!(FloatDType::from(result.output.dtype()), dtype);
                let output = result.output.cast(wide);
                let gradients = (output.clone() * cotangent.clone()).sum().backward();
                let large = [Some(output.without_autodiff()), x.grad(&gradients), shortcut.grad(&gradients)];
                let vectors = [gamma.grad(&gradients), beta.grad(&gradients)].map(|vector| vector.unwrap());
                (
                    large.map(|tensor| tensor.map(values)),
                    vectors.map(values),
                    [result.mean, result.variance].map(values),
                )
            };
            let (found, expected) = (run(narrow), run(wide));
            assert_eq!(found.2, expected.2, "{shape:?}, {kind}: statistics");
            let pairs =
                found.0.into_iter().flatten().chain(found.1).zip(expected.0.into_iter().flatten().chain(expected.1));
            for (found, expected) in pairs {
                let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
                let is_close = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= largest / 200.0);
                assert!(found.len() == expected.len() && is_close, "{shape:?}, {kind}");
            }
        }
    }
}
