//! Forward passes of small networks, and of EfficientNet-B0 and MobileNetV3-Large, which have the most kinds of layers.

use std::collections::BTreeSet;

use burn::tensor::{Device, Distribution, Tensor};

use super::{Forward, Mode, StemCache};
use crate::{
    augment::view_rng,
    backbone::{Backbone, Block, ConvNorm, ConvNormShape, Stage},
    encoder::{BackboneKind, Encoder, EncoderConfig},
    head::{Head, HeadKind},
    layout::Layout,
    parameter::Parameters,
    visitor::Visitor,
    width::{Channels, Widths},
};

/// Kinds of backbone that have all kinds of layers together.
const KINDS: [BackboneKind; 3] =
    [BackboneKind::EfficientnetB0, BackboneKind::TfEfficientnetB0, BackboneKind::MobilenetV3Large];

fn fresh(backbone: BackboneKind) -> (Encoder, Parameters, Tensor<4>) {
    let encoder = EncoderConfig::new(backbone, 0, HeadKind::Mocov2, 16).build().unwrap();
    let device = Device::flex();
    let parameters = Parameters::init(encoder.layout().clone(), 1, &device);
    (encoder, parameters, Tensor::random([4, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device))
}

#[test]
fn the_stem_cache_serves_only_convolutions_of_the_images() {
    let device = Device::flex();
    let mut layout = Layout::new(Widths::try_from(vec![1.0, 0.5]).unwrap());
    let mut block = |number, sides| {
        let names = [format!("conv{number}"), format!("bn{number}")];
        let shape = ConvNormShape { sides, kernel: 3, stride: 1, gamma: 1.0 };
        Block::ConvRelu(ConvNorm::new(&mut layout, [&names[0], &names[1]], shape).unwrap())
    };
    let (fixed, slim) = (Channels::Fixed(8), Channels::Slim(8));
    let blocks = vec![block(1, [Channels::IMAGE, fixed]), block(2, [fixed, slim])];
    let backbone = Backbone::new(vec![Stage::new("stem", blocks)], slim);
    let head = Head::new(&mut layout, HeadKind::Mocov2, slim, 0, 4).unwrap();
    let encoder = Encoder::from_parts(layout, backbone, head, None);
    let mut parameters = Parameters::init(encoder.layout().clone(), 1, &device);
    // A norm of the narrow width alone, so that the second convolution's inputs depend on the width.
    let (shift, _) = encoder.layout().iter().find(|(_, spec)| spec.name == "bn1.bn.1.bias").unwrap();
    parameters.update(shift, |value| value.add_scalar(0.5));
    let images = Tensor::random([4, 3, 8, 8], Distribution::Normal(0.0, 1.0), &device);
    let mode = Mode::Train { splits: 1 };
    let mut cache = StemCache::default();
    Forward::new(&mut parameters, 0, mode).with_stem_cache(&mut cache).features(&encoder, images.clone());
    let cached = Forward::new(&mut parameters, 1, mode).with_stem_cache(&mut cache).features(&encoder, images.clone());
    let expected = Forward::new(&mut parameters, 1, mode).features(&encoder, images);
    assert!((cached - expected).abs().max().into_scalar::<f32>() < 1e-5);
}

#[test]
fn features_are_1280_and_the_same_each_time_in_eval_mode() {
    for backbone in KINDS {
        let (encoder, mut parameters, images) = fresh(backbone);
        let mut features = || Forward::new(&mut parameters, 0, Mode::Eval).features(&encoder, images.clone());
        let first = features();
        assert_eq!(first.dims(), [4, 1280]);
        assert_eq!(first.into_data(), features().into_data());
    }
}

#[test]
fn every_trained_parameter_gets_a_gradient() {
    for backbone in KINDS {
        let (encoder, mut parameters, images) = fresh(backbone);
        let mut pass = Forward::tracked(&mut parameters, 0, Mode::Train { splits: 2 });
        let output = pass.predict(&encoder, images);
        assert_eq!(output.dims(), [4, 16]);
        let gradients = pass.gradients(output.powi_scalar(2).sum()).into_iter();
        let moved: BTreeSet<_> = gradients
            .filter(|(_, gradient)| gradient.clone().abs().sum().into_scalar::<f32>() > 0.0)
            .map(|(id, _)| id)
            .collect();
        let trained = encoder.layout().iter().filter(|(_, spec)| spec.is_trained());
        let still: Vec<_> = trained.filter(|(id, _)| !moved.contains(id)).map(|(_, spec)| &spec.name).collect();
        assert!(still.is_empty(), "{backbone:?}: {still:?}");
    }
}

#[test]
fn dropout_keeps_the_mean_and_stochastic_depth_drops_whole_images() {
    let (_, mut parameters, _) = fresh(BackboneKind::MobilenetV3Large);
    let ones = Tensor::ones([200, 50, 1, 1], &Device::flex());
    let mut pass = Forward::new(&mut parameters, 0, Mode::Train { splits: 1 }).with_noise(view_rng(0, 0, 0, 0));
    let values: Vec<f32> = pass.dropout(ones.clone(), 0.2).into_data().iter().collect();
    assert!(values.iter().all(|value| [0.0, 1.25].contains(value)));
    let mean = values.iter().sum::<f32>() / 1e4;
    assert!((mean - 1.0).abs() < 0.02, "{mean}");
    let values: Vec<f32> = pass.stochastic_depth(ones.clone(), 0.5).into_data().iter().collect();
    assert!(values.chunks(50).all(|image| image.iter().all(|value| value == &image[0] && [0.0, 2.0].contains(value))));
    let kept = values.iter().filter(|value| **value > 0.0).count() / 50;
    assert!((70..130).contains(&kept), "{kept} of 200");
    let mut pass = Forward::new(&mut parameters, 0, Mode::Eval).with_noise(view_rng(0, 0, 0, 0));
    assert_eq!(pass.dropout(ones.clone(), 0.2).into_data(), ones.into_data());
}

#[test]
fn dropout_repeats_with_its_seed_and_when_blocks_are_recomputed() {
    for backbone in [BackboneKind::EfficientnetB0, BackboneKind::MobilenetV3Large] {
        let (encoder, mut parameters, images) = fresh(backbone);
        let mode = Mode::Train { splits: 1 };
        let mut gradient = |seed, recompute| {
            let pass = Forward::tracked(&mut parameters, 0, mode).with_noise(view_rng(seed, 0, 0, 0));
            let mut pass = pass.recomputing(recompute);
            let output = pass.predict(&encoder, images.clone());
            let values = output.clone().into_data();
            let mut gradients = pass.gradients(output.powi_scalar(2).sum());
            gradients.sort_by_key(|(id, _)| *id);
            (values, Tensor::cat(gradients.into_iter().map(|(_, gradient)| gradient.flatten(0, 3)).collect(), 0))
        };
        let [(first, gradients), (again, of_again), (other, _)] =
            [(7, false), (7, true), (8, false)].map(|(seed, recompute)| gradient(seed, recompute));
        assert_eq!(first, again);
        assert_ne!(first, other);
        let norm = |of: Tensor<1>| of.powi_scalar(2).sum().sqrt().into_scalar::<f32>();
        let difference = norm(gradients.clone() - of_again) / norm(gradients);
        assert!(difference < 1e-4, "{backbone:?}: {difference}");
        // Dropout follows the features, but stochastic depth, which EfficientNets have, precedes them.
        let mut features = |pass: fn(Forward) -> Forward| {
            pass(Forward::new(&mut parameters, 0, mode)).features(&encoder, images.clone()).into_data()
        };
        let is_noisy = features(|pass| pass) != features(|pass| pass.with_noise(view_rng(7, 0, 0, 0)));
        assert_eq!(is_noisy, backbone == BackboneKind::EfficientnetB0);
    }
}
