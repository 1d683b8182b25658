use burn::tensor::{Device, Distribution, Tensor};

use super::fork;

#[test]
fn the_gradient_is_the_sum_of_both() {
    let random = || Tensor::<4>::random([2, 3, 9, 5], Distribution::Normal(0.0, 1.0), &Device::flex());
    let (x, factor, cotangent) = (random(), random(), random());
    let run = |two_ways: fn(Tensor<4>) -> [Tensor<4>; 2]| {
        let leaf = x.clone().autodiff().require_grad();
        let [first, second] = two_ways(leaf.clone().exp());
        let output = (first.clone() * factor.clone() + second) * first;
        let gradients = (output.clone() * cotangent.clone()).sum().backward();
        [output.without_autodiff(), leaf.grad(&gradients).unwrap()]
    };
    for (found, expected) in run(fork).into_iter().zip(run(|x| [x.clone(), x])) {
        found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Default::default());
    }
}
