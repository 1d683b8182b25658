use burn::tensor::{DType, Device, Distribution, Tensor};
use slimclr_network::layout::ALIGNMENT;

use super::{ema, sgd_step};

#[test]
fn step_and_ema_match_their_formulas() {
    for blocks in [1, 1001] {
        let count = blocks * ALIGNMENT;
        let random = |count| Tensor::<1>::random([count], Distribution::Normal(0.0, 1.0), &Device::flex());
        let ([values, velocities, gradient], decay) = ([count; 3].map(random), random(blocks));
        let decay_of_each = decay.clone().unsqueeze_dim::<2>(1).repeat_dim(1, ALIGNMENT).flatten::<1>(0, 1);
        let moved = velocities.clone() * 0.9 + gradient.clone() + values.clone() * decay_of_each;
        let expected = [values.clone() - moved.clone() * 0.05, moved, values.clone() * 0.99 + gradient.clone() * 0.01];
        for dtype in [DType::F32, DType::F64] {
            let [values, velocities, gradient, decay] =
                [&values, &velocities, &gradient, &decay].map(|tensor| tensor.clone().cast(dtype));
            let [moved, velocities] = sgd_step([values.clone(), velocities], gradient.clone(), decay, 0.9, 0.05);
            for (found, expected) in [moved, velocities, ema(values, gradient, 0.99)].into_iter().zip(&expected) {
                let largest = (found.cast(DType::F32) - expected.clone()).abs().max().into_scalar::<f32>();
                assert!(largest < 1e-5, "{count}, {dtype:?}: {largest}");
            }
        }
    }
}
