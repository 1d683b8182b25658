//! Costs of a network at each width and stage: parameters and multiply-accumulates.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    encoder::Encoder,
    head::HEAD,
    layers::{SlimConv2d, SlimLinear, SwitchableBatchNorm},
    layout::{Layout, ParameterId},
    visitor::{Epilogue, Visitor},
};

/// Costs of one stage: the stem, a stage of blocks, or the head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Parameters that the width uses: its slices and its norms.
    pub parameters: u64,
    /// Multiply-accumulates of convolutions and linear layers for one image.
    pub macs: u64,
}

/// Costs of one width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The width.
    pub width: f64,
    /// Parameters that it uses: its slices, its norms and the head.
    pub parameters: u64,
    /// Multiply-accumulates of convolutions and linear layers for one image.
    pub macs: u64,
    /// Costs by stage.
    #[serde(default)]
    pub stages: Vec<Stage>,
}

impl Profile {
    /// Returns parameters and multiply-accumulates of the backbone, without the head.
    pub fn of_backbone(&self) -> [u64; 2] {
        let stages = || self.stages.iter().filter(|stage| stage.name != HEAD);
        [stages().map(|stage| stage.parameters).sum(), stages().map(|stage| stage.macs).sum()]
    }
}

/// Profiles every width of `encoder`, head included, on square images of `side` pixels.
pub fn profile(encoder: &Encoder, side: usize) -> Vec<Profile> {
    let layout = encoder.layout();
    (0..)
        .zip(layout.widths().iter())
        .map(|(index, width)| {
            let stages: Vec<Stage> =
                Cost::of(encoder, index, side).stages.into_iter().map(|(stage, _)| stage).collect();
            Profile {
                width,
                parameters: stages.iter().map(|stage| stage.parameters).sum(),
                macs: stages.iter().map(|stage| stage.macs).sum(),
                stages,
            }
        })
        .collect()
}

/// Returns the convolution and linear weights of each stage.
pub fn weights_by_stage(encoder: &Encoder) -> Vec<(String, Vec<ParameterId>)> {
    let is_weight = |id: &ParameterId| encoder.layout().spec(*id).is_weight();
    let weights = |parameters: Vec<ParameterId>| parameters.into_iter().filter(is_weight).collect();
    of_width(encoder, 0).map(|(stage, parameters)| (stage, weights(parameters))).collect()
}

/// Returns the trained parameters of each stage, of all widths: weights, biases, and those of norms.
pub fn parameters_by_stage(encoder: &Encoder) -> Vec<(String, BTreeSet<ParameterId>)> {
    let full = of_width(encoder, 0).map(|(stage, parameters)| (stage, parameters.into_iter().collect()));
    let mut stages: Vec<(String, BTreeSet<ParameterId>)> = full.collect();
    for width in 1..encoder.layout().widths().len() {
        for ((_, all), (_, parameters)) in stages.iter_mut().zip(of_width(encoder, width)) {
            all.extend(parameters);
        }
    }
    stages
}

/// Returns the trained parameters of each stage that the width at `index` uses.
fn of_width(encoder: &Encoder, index: usize) -> impl Iterator<Item = (String, Vec<ParameterId>)> + use<> {
    // They do not depend on the image size.
    Cost::of(encoder, index, 1).stages.into_iter().map(|(stage, parameters)| (stage.name, parameters))
}

/// Height and width of a feature map, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    height: usize,
    width: usize,
}

impl Extent {
    fn strided(self, stride: usize) -> Self {
        Self { height: self.height.div_ceil(stride), width: self.width.div_ceil(stride) }
    }
}

/// The visitor that counts costs.
struct Cost<'a> {
    layout: &'a Layout,
    width: usize,
    /// Each stage with its trained parameters.
    stages: Vec<(Stage, Vec<ParameterId>)>,
}

impl<'a> Cost<'a> {
    /// Counts the width at `index` on square images of `side` pixels.
    fn of(encoder: &'a Encoder, index: usize, side: usize) -> Self {
        let mut cost = Self { layout: encoder.layout(), width: index, stages: Vec::new() };
        encoder.visit(Extent { height: side, width: side }, &mut cost);
        cost
    }

    /// Counts a layer that applies its weight at every pixel of `output`.
    fn weight(&mut self, weight: ParameterId, output: Extent) {
        self.parameter(weight, output.height * output.width);
    }

    /// Counts parameters without multiply-accumulates: biases and norms.
    fn vectors(&mut self, ids: impl IntoIterator<Item = ParameterId>) {
        ids.into_iter().for_each(|id| self.parameter(id, 0));
    }

    /// Counts a parameter that is multiplied with `pixels` pixels.
    fn parameter(&mut self, id: ParameterId, pixels: usize) {
        let count = self.layout.count_of(id, self.width);
        let (stage, parameters) = self.stages.last_mut().expect("every network begins with a stage");
        stage.parameters += count;
        stage.macs += count * pixels as u64;
        parameters.push(id);
    }
}

impl Visitor for Cost<'_> {
    type Value = Extent;

    fn width(&self) -> usize {
        self.width
    }

    fn stage(&mut self, name: &str) {
        self.stages.push((Stage { name: name.into(), parameters: 0, macs: 0 }, Vec::new()));
    }

    fn conv(&mut self, x: Extent, conv: &SlimConv2d) -> Extent {
        let output = x.strided(conv.stride());
        self.weight(conv.weight(), output);
        self.vectors(conv.bias());
        output
    }

    fn norm(&mut self, x: Extent, norm: &SwitchableBatchNorm, _: Epilogue<Extent>) -> Extent {
        self.vectors(norm.affine(self.width).into_iter().flatten());
        x
    }

    fn linear(&mut self, x: Extent, linear: &SlimLinear) -> Extent {
        self.weight(linear.weight(), x);
        self.vectors(linear.bias());
        x
    }

    fn relu(&mut self, x: Extent) -> Extent {
        x
    }

    fn sigmoid(&mut self, x: Extent) -> Extent {
        x
    }

    fn hard_sigmoid(&mut self, x: Extent) -> Extent {
        x
    }

    fn multiply(&mut self, x: Extent, _: Extent) -> Extent {
        x
    }

    fn add(&mut self, a: Extent, _: Extent) -> Extent {
        a
    }

    fn max_pool(&mut self, x: Extent) -> Extent {
        x.strided(2)
    }

    fn average_pool(&mut self, _: Extent) -> Extent {
        Extent { height: 1, width: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        encoder::{BackboneKind, EncoderConfig},
        head::HeadKind,
        width::Widths,
    };

    /// Builds an encoder with a classifier of 1000 classes.
    fn encoder(backbone: BackboneKind, depth: usize, multiplier: f64, widths: &[f64]) -> Encoder {
        let config = EncoderConfig {
            multiplier,
            widths: Widths::try_from(widths.to_vec()).unwrap(),
            ..EncoderConfig::new(backbone, depth, HeadKind::SupervisedSwitch, 1000)
        };
        config.build().unwrap()
    }

    #[test]
    fn stages_count_every_parameter_once() {
        let slimmable = encoder(BackboneKind::Resnet, 50, 1.0, &[1.0, 0.5]);
        let cifar = encoder(BackboneKind::Cifar, 20, 2.0, &[1.0, 0.25]);
        let [b0, b1, mobilenet] =
            [BackboneKind::EfficientnetB0, BackboneKind::TfEfficientnetB1, BackboneKind::MobilenetV3Large]
                .map(|kind| encoder(kind, 0, 1.0, &[1.0]));
        for (encoder, count) in [(slimmable, 6), (cifar, 5), (b0, 10), (b1, 10), (mobilenet, 9)] {
            let layout = encoder.layout();
            for (index, profile) in profile(&encoder, 64).into_iter().enumerate() {
                let of_backbone = profile.of_backbone();
                let Profile { parameters, macs, stages, .. } = profile;
                let trained = layout.iter().filter(|(_, spec)| spec.is_trained());
                assert_eq!(trained.map(|(id, _)| layout.count_of(id, index)).sum::<u64>(), parameters);
                assert_eq!(stages.iter().map(|stage| stage.parameters).sum::<u64>(), parameters);
                assert_eq!(stages.iter().map(|stage| stage.macs).sum::<u64>(), macs);
                assert_eq!(stages.len(), count);
                let head = stages.last().unwrap();
                assert_eq!(of_backbone, [parameters - head.parameters, macs - head.macs]);
            }
        }
    }

    #[test]
    fn a_cifar_stem_costs_what_it_does_in_pytorch() {
        // torchvision's ResNet-18 with such a stem and ten classes has 11,173,962 parameters.
        let config = EncoderConfig::new(BackboneKind::ResnetCifarStem, 18, HeadKind::Supervised, 10);
        let found = profile(&config.build().unwrap(), 32).pop().unwrap();
        assert_eq!(found.parameters, 11_173_962);
        // Counted by layer: the stem, 16 convolutions of 3x3 and three shortcuts, and the classifier.
        assert_eq!(found.macs, 555_422_720);
    }

    #[test]
    fn costs_match_the_publications() {
        // The paper has 11.9 M for a ResNet-18, which is 11.7 M in torchvision and here.
        for (backbone, depth, widths, parameters, macs) in [
            (BackboneKind::Resnet, 18, &[1.0][..], 11.7e6, 1.8e9),
            (BackboneKind::Resnet, 50, &[1.0, 0.5], 6.9e6, 1.1e9),
            (BackboneKind::Resnet, 50, &[1.0, 0.25], 2.0e6, 278e6),
            (BackboneKind::EfficientnetB0, 0, &[1.0], 5.3e6, 390e6),
        ] {
            let found = profile(&encoder(backbone, depth, 1.0, widths), 224).pop().unwrap();
            for (found, published) in [(found.parameters, parameters), (found.macs, macs)] {
                // Most publications give two digits.
                let digit = 10f64.powf(f64::log10(published).floor() - 1.0);
                assert!((found as f64 - published).abs() <= 0.5 * digit, "{found} is not {published}");
            }
        }
        let twice = profile(&encoder(BackboneKind::Resnet, 50, 2.0, &[1.0]), 224).pop().unwrap();
        assert_eq!([twice.parameters, twice.macs], [98_004_072, 16_116_613_120]);
    }
}
