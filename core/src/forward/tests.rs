//! EfficientNet-B0 runs: the network with the most kinds of layers.

use std::collections::BTreeSet;

use burn::tensor::{Device, Distribution, Tensor};

use super::{Forward, Mode};
use crate::{
    encoder::{BackboneKind, Encoder, EncoderConfig},
    head::HeadKind,
    parameter::Parameters,
    width::Widths,
};

fn config() -> EncoderConfig {
    EncoderConfig {
        backbone: BackboneKind::EfficientnetB0,
        depth: 0,
        multiplier: 1.0,
        widths: Widths::full(),
        head: HeadKind::Mocov2,
        hidden: 0,
        predictor: false,
        outputs: 16,
    }
}

fn fresh() -> (Encoder, Parameters, Tensor<4>) {
    let (encoder, device) = (config().build().unwrap(), Device::flex());
    let parameters = Parameters::init(encoder.layout().clone(), 1, &device);
    (encoder, parameters, Tensor::random([4, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device))
}

#[test]
fn features_are_1280_and_the_same_each_time_in_eval_mode() {
    let (encoder, mut parameters, images) = fresh();
    let mut features = || Forward::new(&mut parameters, 0, Mode::Eval).features(&encoder, images.clone());
    let first = features();
    assert_eq!(first.dims(), [4, 1280]);
    assert_eq!(first.into_data(), features().into_data());
}

#[test]
fn every_trained_parameter_gets_a_gradient() {
    let (encoder, mut parameters, images) = fresh();
    let mut pass = Forward::tracked(&mut parameters, 0, Mode::Train { splits: 2 });
    let output = pass.predict(&encoder, images);
    assert_eq!(output.dims(), [4, 16]);
    let gradients = pass.gradients(output.powi_scalar(2).sum()).into_iter();
    let moved: BTreeSet<_> = gradients
        .filter(|(_, gradient)| gradient.clone().abs().sum().into_scalar::<f32>() > 0.0)
        .map(|(id, _)| id)
        .collect();
    let layout = encoder.layout();
    let still: Vec<_> =
        layout.iter().filter(|(id, spec)| spec.is_trained() && !moved.contains(id)).map(|(_, s)| &s.name).collect();
    assert!(still.is_empty(), "{still:?}");
}
