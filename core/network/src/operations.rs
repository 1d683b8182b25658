//! The operations of a forward and backward pass: what each computes, and what it reads and writes.
//!
//! [`profile`](crate::profile) adds up costs of layers. Here they stay apart, because a device's time depends on which of
//! an operation's two sides is slower, arithmetic or memory (the roofline model of Williams et al. 2009).

use crate::{
    encoder::Encoder,
    layers::{SlimConv2d, SlimLinear, SwitchableBatchNorm},
    layout::{Layout, ParameterId},
    visitor::{Epilogue, Visitor},
};

/// One operation of a pass: a layer, or a gradient of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Multiply-accumulates for one image.
    pub macs: u64,
    /// Values of activations, or of their gradients, that it reads and writes for one image.
    pub activations: u64,
    /// Values of parameters, or of their gradients, that it reads or writes, for any number of images.
    pub parameters: u64,
}

/// The operations of one width in training.
///
/// They are as fused as this program's kernels: a batch norm is one operation with what follows it, and the two gradients
/// of a convolution are two. Batch norms read their input twice, for statistics and to normalise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Operations {
    /// Those of the forward pass, in order.
    pub forward: Vec<Operation>,
    /// Those of the backward pass, in the order of the layers.
    pub backward: Vec<Operation>,
    /// Channels of each batch norm.
    pub norms: Vec<u64>,
}

impl Operations {
    /// Lists the operations of the width at `index` of backbone and head on square images of `side` pixels.
    pub fn of(encoder: &Encoder, index: usize, side: usize) -> Self {
        Self::list(encoder, index, side, false)
    }

    /// Lists the same with those of the predictor, which queries pass after the head.
    pub fn of_queries(encoder: &Encoder, index: usize, side: usize) -> Self {
        Self::list(encoder, index, side, true)
    }

    fn list(encoder: &Encoder, index: usize, side: usize, predicts: bool) -> Self {
        let mut listing = Listing { layout: encoder.layout(), width: index, operations: Self::default() };
        let embeddings = encoder.visit(Shape { channels: 3, height: side, width: side }, &mut listing);
        if let Some(predictor) = encoder.predictor().filter(|_| predicts) {
            predictor.visit(embeddings, &mut listing);
        }
        listing.operations
    }
}

/// The shape of a layer's output for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    channels: usize,
    height: usize,
    width: usize,
}

impl Shape {
    fn values(self) -> u64 {
        (self.channels * self.height * self.width) as u64
    }

    fn strided(self, stride: usize) -> Self {
        Self { height: self.height.div_ceil(stride), width: self.width.div_ceil(stride), ..self }
    }
}

/// The visitor that lists operations.
struct Listing<'a> {
    layout: &'a Layout,
    width: usize,
    operations: Operations,
}

impl Listing<'_> {
    /// Lists a layer that applies `weight` at every pixel of an output of this extent, and returns the output's shape.
    fn weighted(&mut self, x: Shape, weight: ParameterId, extent: Shape, needs_input_gradient: bool) -> Shape {
        let spec = self.layout.spec(weight);
        let slice = spec.slice(self.layout.widths(), self.width);
        let output = Shape { channels: slice.map_or(0, |[outputs, ..]| outputs.len()), ..extent };
        let parameters = self.layout.count_of(weight, self.width);
        let operation = Operation {
            macs: parameters * (output.height * output.width) as u64,
            activations: x.values() + output.values(),
            parameters,
        };
        self.operations.forward.push(operation);
        // The gradient of the input, and that of the weight.
        let gradients = if needs_input_gradient { 2 } else { 1 };
        self.operations.backward.extend([operation; 2].into_iter().take(gradients));
        output
    }

    /// Lists a layer without weights, by the values that both passes read and write.
    fn elementwise(&mut self, forward: u64, backward: u64) {
        let moves = |activations| Operation { macs: 0, activations, parameters: 0 };
        self.operations.forward.push(moves(forward));
        self.operations.backward.push(moves(backward));
    }
}

impl Visitor for Listing<'_> {
    type Value = Shape;

    fn width(&self) -> usize {
        self.width
    }

    fn conv(&mut self, x: Shape, conv: &SlimConv2d) -> Shape {
        self.weighted(x, conv.weight(), x.strided(conv.stride()), !conv.sees_images())
    }

    fn norm(&mut self, x: Shape, _: &SwitchableBatchNorm, epilogue: Epilogue<Shape>) -> Shape {
        // A shortcut is read forward, and its gradient is written backward.
        let shortcut = match epilogue {
            Epilogue::Nothing | Epilogue::Relu => 0,
            Epilogue::AddRelu(shortcut) | Epilogue::ReluAddRelu(shortcut) => shortcut.values(),
        };
        // Backward, the sums and the gradient each read the input and the output's gradient.
        self.elementwise(3 * x.values() + shortcut, 5 * x.values() + shortcut);
        self.operations.norms.push(x.channels as u64);
        x
    }

    fn linear(&mut self, x: Shape, linear: &SlimLinear) -> Shape {
        self.weighted(x, linear.weight(), x, true)
    }

    fn relu(&mut self, x: Shape) -> Shape {
        self.elementwise(2 * x.values(), 3 * x.values());
        x
    }

    fn sigmoid(&mut self, x: Shape) -> Shape {
        self.elementwise(2 * x.values(), 3 * x.values());
        x
    }

    fn hard_sigmoid(&mut self, x: Shape) -> Shape {
        self.elementwise(2 * x.values(), 3 * x.values());
        x
    }

    fn multiply(&mut self, x: Shape, factor: Shape) -> Shape {
        self.elementwise(2 * x.values() + factor.values(), 3 * x.values() + 2 * factor.values());
        x
    }

    fn add(&mut self, a: Shape, b: Shape) -> Shape {
        // Backward, both take the sum's gradient as it is.
        self.operations.forward.push(Operation { macs: 0, activations: 2 * a.values() + b.values(), parameters: 0 });
        a
    }

    fn max_pool(&mut self, x: Shape) -> Shape {
        let output = x.strided(2);
        self.elementwise(x.values() + output.values(), 2 * x.values() + output.values());
        output
    }

    fn average_pool(&mut self, x: Shape) -> Shape {
        let output = Shape { height: 1, width: 1, ..x };
        let both = x.values() + output.values();
        self.elementwise(both, both);
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        encoder::{BackboneKind, EncoderConfig, Predictors},
        head::HeadKind,
        profile::profile,
        width::Widths,
    };

    #[test]
    fn multiply_accumulates_are_the_profiles_and_twice_as_many_backward() {
        let widths = Widths::try_from(vec![1.0, 0.5]).unwrap();
        for (backbone, depth, widths) in [
            (BackboneKind::Resnet, 50, widths.clone()),
            (BackboneKind::Cifar, 20, widths),
            (BackboneKind::EfficientnetB0, 0, Widths::full()),
            (BackboneKind::MobilenetV3Large, 0, Widths::full()),
        ] {
            let config = EncoderConfig { widths, ..EncoderConfig::new(backbone, depth, HeadKind::Mocov2, 128) };
            let encoder = config.build().unwrap();
            for (index, cost) in profile(&encoder, 64).into_iter().enumerate() {
                let Operations { forward, backward, .. } = Operations::of(&encoder, index, 64);
                let macs = |operations: &[Operation]| operations.iter().map(|operation| operation.macs).sum::<u64>();
                assert_eq!(macs(&forward), cost.macs);
                // Nobody needs the gradient of the images.
                let stem = forward[0].macs;
                assert_eq!(macs(&backward), 2 * cost.macs - stem);
            }
        }
    }

    #[test]
    fn a_cifar_resnets_first_block_moves_what_its_layers_read_and_write() {
        let config = EncoderConfig::new(BackboneKind::Cifar, 8, HeadKind::Supervised, 10);
        let Operations { forward, backward, norms } = Operations::of(&config.build().unwrap(), 0, 32);
        let [image, map] = [3 * 32 * 32, 16 * 32 * 32];
        let moved: Vec<u64> = forward[..6].iter().map(|operation| operation.activations).collect();
        // Stem, norm and ReLU; convolution, norm and ReLU; convolution, norm and ReLU with the shortcut.
        assert_eq!(moved, [image + map, 3 * map, 2 * map, 3 * map, 2 * map, 4 * map]);
        // The stem has only the weight's gradient.
        let moved: Vec<u64> = backward[..4].iter().map(|operation| operation.activations).collect();
        assert_eq!(moved, [image + map, 5 * map, 2 * map, 2 * map]);
        assert_eq!([forward[0], forward[2]].map(|operation| operation.parameters), [3 * 9 * 16, 16 * 9 * 16]);
        // Six convolutions in blocks, the stem and two shortcuts.
        assert_eq!(norms.len(), 9);
        assert_eq!(norms[..3], [16, 16, 16]);
    }

    #[test]
    fn only_queries_pass_the_predictor() {
        let config = EncoderConfig {
            predictors: Predictors::Mocov3,
            hidden: 32,
            ..EncoderConfig::new(BackboneKind::Cifar, 8, HeadKind::Mocov3, 24)
        };
        let encoder = config.build().unwrap();
        let [keys, queries] =
            [Operations::of(&encoder, 0, 32), Operations::of_queries(&encoder, 0, 32)].map(|it| it.forward);
        let more: Vec<u64> = queries[keys.len()..].iter().map(|operation| operation.macs).collect();
        assert_eq!(more, [24 * 32, 0, 32 * 24]);
    }
}
