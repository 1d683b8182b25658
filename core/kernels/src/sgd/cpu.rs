//! What moves all parameters at once, on the CPU, for f32.

use burn::backend::{Flex, flex::FlexTensor, tensor::FloatTensor};

use slimclr_network::layout::ALIGNMENT;

use super::{SgdBackend, plain};
use crate::cpu::{LANES, is_f32, values, zip_map_inplace};

/// See [`sgd_step`](crate::sgd::descend).
fn sgd_step(
    moving: [FlexTensor; 2],
    gradient: &FlexTensor,
    decay: &FlexTensor,
    momentum: f32,
    rate: f32,
) -> (FlexTensor, FlexTensor) {
    const { assert!(ALIGNMENT.is_multiple_of(LANES), "values that are taken side by side have one decay") };
    let decay = decay.to_contiguous();
    let decay = values(&decay);
    let [moved, velocities] = zip_map_inplace(
        moving,
        [gradient],
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

/// See [`ema`](crate::sgd::approach).
fn ema(values: FlexTensor, target: &FlexTensor, keep: f64) -> FlexTensor {
    let [keep, share] = [keep as f32, (1.0 - keep) as f32];
    let [moved] = zip_map_inplace(
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
    fn sgd_step(
        values: FloatTensor<Self>,
        velocities: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        decay: FloatTensor<Self>,
        momentum: f64,
        rate: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        if !is_f32(&values) {
            return plain::sgd_step::<Self>(values, velocities, gradient, decay, momentum, rate);
        }
        sgd_step([values, velocities], &gradient, &decay, momentum as f32, rate as f32)
    }

    fn ema(values: FloatTensor<Self>, target: FloatTensor<Self>, keep: f64) -> FloatTensor<Self> {
        if !is_f32(&values) {
            return plain::ema::<Self>(values, target, keep);
        }
        ema(values, &target, keep)
    }
}
