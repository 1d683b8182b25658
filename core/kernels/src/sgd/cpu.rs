//! SGD and EMA on the CPU, for f32.

use burn::backend::{Flex, flex::FlexTensor, tensor::FloatTensor};

use slimclr_network::layout::ALIGNMENT;

use super::{SgdBackend, plain, types::SgdInput};
use crate::cpu::{LANES, is_f32, values, zip_map_inplace};

fn sgd_step(input: SgdInput<Flex>) -> (FlexTensor, FlexTensor) {
    const { assert!(ALIGNMENT.is_multiple_of(LANES), "values that are taken side by side have one decay") };
    let SgdInput { values: parameters, velocities, gradient, decay, momentum, rate } = input;
    let (momentum, rate) = (momentum as f32, rate as f32);
    let decay = decay.to_contiguous();
    let decay = values::<f32>(&decay);
    let [moved, velocities] = zip_map_inplace::<f32, _, _, _>(
        [parameters, velocities],
        [&gradient],
        #[inline(always)]
        |place| {
            let decay = decay[place / ALIGNMENT];
            #[inline(always)]
            move |[value, velocity], [gradient]| {
                let velocity = momentum * velocity + (gradient + value * decay);
                [value - rate * velocity, velocity]
            }
        },
    );
    (moved, velocities)
}

fn ema(values: FlexTensor, target: &FlexTensor, keep: f64) -> FlexTensor {
    let [keep, share] = [keep as f32, (1.0 - keep) as f32];
    let [moved] = zip_map_inplace::<f32, _, _, _>(
        [values],
        [target],
        #[inline(always)]
        |_| {
            #[inline(always)]
            move |[value], [target]| [keep * value + share * target]
        },
    );
    moved
}

impl SgdBackend for Flex {
    fn sgd_step(input: SgdInput<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if is_f32(&input.values) { sgd_step(input) } else { plain::sgd_step(input) }
    }

    fn ema(values: FloatTensor<Self>, target: FloatTensor<Self>, keep: f64) -> FloatTensor<Self> {
        if is_f32(&values) { ema(values, &target, keep) } else { plain::ema::<Self>(values, target, keep) }
    }
}
