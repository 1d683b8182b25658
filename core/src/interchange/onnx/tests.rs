use burn::tensor::{Device, Distribution, Tensor};
use futures::executor::block_on;

use super::*;
use crate::{
    config::Config,
    encoder::{BackboneKind, Encoder},
    forward::{Forward, Mode},
    interchange::sub_network::SubNetwork,
    method::MethodKind,
    parameter::Parameters,
};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// Returns a classifier of this backbone whose norms have seen images.
fn trained(backbone: BackboneKind, widths: Vec<f64>) -> (Encoder, Parameters) {
    let depth = if backbone == BackboneKind::Resnet { 18 } else { 8 };
    let config =
        Config { backbone, depth, multiplier: 1.0, widths, method: MethodKind::Supervised, dim: 4, ..Config::mini() };
    let encoder = config.encoder().unwrap().build().unwrap();
    let mut parameters = Parameters::init(encoder.layout().clone(), 3, &Device::flex());
    for width in 0..config.widths.len() {
        Forward::new(&mut parameters, width, Mode::Train { splits: 1 }).features(&encoder, random([8, 3, 32, 32]));
    }
    (encoder, parameters)
}

/// Returns the relative distance of two tensors.
fn distance(found: &Tensor<2>, expected: &Tensor<2>) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let norm = |x: Tensor<2>| x.powi_scalar(2).sum().into_scalar::<f32>().sqrt();
    norm(found.clone() - expected.clone()) / norm(expected.clone())
}

#[test]
fn all_forms_compute_the_network() {
    for (backbone, widths, index) in [
        (BackboneKind::Cifar, vec![1.0, 0.5], 1),
        (BackboneKind::Resnet, vec![1.0], 0),
        (BackboneKind::MobilenetV3Large, vec![1.0], 0),
        (BackboneKind::TfEfficientnetB0, vec![1.0], 0),
    ] {
        let (encoder, mut parameters) = trained(backbone, widths);
        let exported = block_on(SubNetwork::take(&encoder, &parameters, index)).unwrap().to_onnx();
        let images = random([4, 3, 32, 32]);
        let features = Forward::new(&mut parameters, index, Mode::Eval).features(&encoder, images.clone());
        let logits = Forward::new(&mut parameters, index, Mode::Eval).predict(&encoder, images.clone());
        let folded = exported.without_norms();
        assert!(folded.nodes.iter().all(|node| node.op_type != "BatchNormalization"), "{backbone:?}");
        let mut ranges = Ranges::default();
        block_on(ranges.observe(&Runtime::new(&folded, &Device::flex()), images.clone())).unwrap();
        let [half, eighth] = [folded.in_f16(), folded.in_int8(&ranges)];
        for (form, network, tolerance) in
            [("f32", &exported, 1e-4), ("folded", &folded, 1e-4), ("f16", &half, 1e-2), ("int8", &eighth, 0.25)]
        {
            let outputs = Runtime::new(network, &Device::flex()).run(images.clone());
            for (output, expected) in outputs.iter().zip([&features, &logits]) {
                let distance = distance(output, expected);
                assert!(distance <= tolerance, "{backbone:?} in {form}: {distance}");
                assert!(!["f16", "int8"].contains(&form) || distance > 0.0, "{backbone:?} in {form} is not rounded");
            }
        }
        // All convolutions read 8-bit numbers.
        let reads_bytes = |node: &Node| node.input.iter().all(|input| input.ends_with(".dequantized"));
        assert!(eighth.nodes.iter().filter(|node| node.op_type == "Conv").all(reads_bytes), "{backbone:?}");
        assert!(eighth.encode(&[]).len() < exported.encode(&[]).len() / 2);
    }
}
