//! Forward passes of small networks, and of EfficientNet-B0 and MobileNetV3-Large, which have the most kinds of layers.

use std::collections::BTreeSet;

use burn::tensor::{Device, Distribution, Tensor};

use super::{Forward, Mode, StemCache};
use crate::{
    backbone::{Backbone, Block, ConvNorm, ConvNormShape, Stage},
    encoder::{BackboneKind, Encoder, EncoderConfig},
    head::{Head, HeadKind},
    layout::Layout,
    parameter::Parameters,
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
