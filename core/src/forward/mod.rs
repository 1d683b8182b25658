//! One forward pass through the network at one width.

mod stem_cache;
mod tensorflow_padding;
#[cfg(test)]
mod tests;

use std::{mem, ops::Range};

use burn::tensor::{
    FloatDType, Gradients, Tensor, TensorData,
    activation::{hard_sigmoid, relu, sigmoid},
    module::adaptive_avg_pool2d,
};
use rand::RngExt;

pub use self::stem_cache::StemCache;
pub(crate) use self::tensorflow_padding::padded_as_tensorflow;
use crate::{
    augment::ViewRng,
    encoder::Encoder,
    kernel::{
        conv::conv,
        fork::fork,
        norm::{batch_norm_eval, batch_norm_over, batch_norm_train, move_running},
        pool::max_pool,
        ranks::Ranks,
    },
    layers::{NormConstants, Padding, SlimConv2d, SlimLinear, SwitchableBatchNorm},
    layout::ParameterId,
    parameter::Parameters,
    precision::{Precision, conv_in_precision, in_32_bits, linear_in_precision},
    visitor::{Epilogue, Visit, Visitor},
};

/// Where batch norm takes its statistics from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// From the batch, split into groups with separate statistics (`bn_splits`). Updates the running statistics.
    Train {
        /// Number of groups; 1 for the whole batch.
        splits: usize,
    },
    /// From the running statistics.
    Eval,
}

/// A forward pass: the visitor that runs a network. It holds the parameters, the width and the mode, and builds the
/// autodiff graph if gradients are wanted.
pub struct Forward<'a> {
    parameters: &'a mut Parameters,
    width: usize,
    mode: Mode,
    precision: Precision,
    /// The ranks whose images the norms see.
    ranks: Ranks,
    stem: Option<&'a mut StemCache>,
    /// Random numbers of dropout and stochastic depth; `None` for neither.
    noise: Option<ViewRng>,
    graph: Graph,
}

/// The parameters' slices that a pass has used, as leaves of the autodiff graph.
type Leaves = Vec<(ParameterId, Tensor<4>)>;

/// The graph that a pass records for the gradients.
enum Graph {
    /// Nothing: evaluation, or a momentum encoder.
    Untracked,
    /// The whole graph.
    Tracked(Leaves),
    /// The graph between blocks, and the blocks to run again (activation checkpointing).
    Checkpointing(Leaves, Vec<Recomputed>),
    /// The graph of a block that runs again. The first run has updated the running statistics; this one must not.
    Recomputing(Leaves),
}

/// A block that runs again for the gradients.
type Rerun = Box<dyn Fn(Tensor<4>, &mut Forward) -> Tensor<4>>;

/// A block whose input and output are kept, without the graph between them.
struct Recomputed {
    rerun: Rerun,
    /// The random numbers at its first run.
    noise: Option<ViewRng>,
    input: Tensor<4>,
    /// A leaf of the graph of the layers that follow.
    output: Tensor<4>,
}

impl<'a> Forward<'a> {
    /// Creates a pass without an autodiff graph, for evaluation or a momentum encoder.
    pub fn new(parameters: &'a mut Parameters, width: usize, mode: Mode) -> Self {
        let (precision, ranks) = (Precision::F32, Ranks::default());
        Self { parameters, width, mode, precision, ranks, stem: None, noise: None, graph: Graph::Untracked }
    }

    /// Creates a pass whose parameters become leaves of an autodiff graph.
    pub fn tracked(parameters: &'a mut Parameters, width: usize, mode: Mode) -> Self {
        Self { graph: Graph::Tracked(Vec::new()), ..Self::new(parameters, width, mode) }
    }

    /// Enables activation checkpointing of a tracked pass if `recompute` holds (Chen et al. 2016): only the inputs of
    /// blocks after the stem are kept, and the blocks are computed again for the gradients.
    pub fn recomputing(self, recompute: bool) -> Self {
        match self.graph {
            Graph::Tracked(leaves) if recompute => Self { graph: Graph::Checkpointing(leaves, Vec::new()), ..self },
            _ => self,
        }
    }

    /// Computes convolutions and linear layers in `precision`.
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Takes batch statistics of the images of all `ranks`, not only of this one's.
    pub fn synchronised(self, ranks: Ranks) -> Self {
        Self { ranks, ..self }
    }

    /// Uses a cache of the convolutions that see the images.
    pub fn with_stem_cache(self, stem: &'a mut StemCache) -> Self {
        stem.rewind();
        Self { stem: Some(stem), ..self }
    }

    /// Applies dropout and stochastic depth, if the network has them, with these random numbers.
    pub fn with_noise(self, noise: ViewRng) -> Self {
        Self { noise: Some(noise), ..self }
    }

    /// Computes the backbone's features. Shapes: images `[batch, 3, height, width]` to `[batch, F]`, `F` of the pass'
    /// width.
    pub fn features(&mut self, encoder: &Encoder, images: Tensor<4>) -> Tensor<2> {
        in_32_bits(encoder.backbone().visit(images, self)).flatten(1, 3)
    }

    /// Computes the backbone's features as an evaluation does, whatever the pass: without a graph, and with the norms'
    /// running statistics, which stay as they are. Shapes as of [`features`](Self::features).
    pub fn frozen_features(&mut self, encoder: &Encoder, images: Tensor<4>) -> Tensor<2> {
        let graph = mem::replace(&mut self.graph, Graph::Untracked);
        let mode = mem::replace(&mut self.mode, Mode::Eval);
        let features = self.features(encoder, images);
        (self.graph, self.mode) = (graph, mode);
        features
    }

    /// Computes the head's outputs, from which keys are made. Shapes: images `[batch, 3, height, width]` to `[batch,
    /// D]`.
    pub fn project(&mut self, encoder: &Encoder, images: Tensor<4>) -> Tensor<2> {
        encoder.visit(images, self).flatten(1, 3)
    }

    /// Computes the head's outputs after the predictor, if there is one, from which queries are made. Shapes: images
    /// `[batch, 3, height, width]` to `[batch, D]`.
    pub fn predict(&mut self, encoder: &Encoder, images: Tensor<4>) -> Tensor<2> {
        let projected = encoder.visit(images, self);
        match encoder.predictor() {
            Some(predictor) => predictor.visit(projected, self).flatten(1, 3),
            None => projected.flatten(1, 3),
        }
    }

    /// Computes [`predict`](Self::predict) for several batches of views, one after the other: `[views * batch, D]`.
    pub fn predict_views(&mut self, encoder: &Encoder, views: &[Tensor<4>]) -> Tensor<2> {
        Tensor::cat(views.iter().map(|views| self.predict(encoder, views.clone())).collect(), 0)
    }

    /// Computes what SimDis' predictor of this name predicts from the head's outputs. Shapes: `[batch, D]`, kept.
    ///
    /// # Panics
    /// If the encoder has no such predictor.
    pub fn predict_as(&mut self, encoder: &Encoder, name: &str, projection: Tensor<2>) -> Tensor<2> {
        let predictor = encoder.view_predictor(name).expect("the encoder has a predictor of each name");
        predictor.visit(projection.unsqueeze_dims(&[2, 3]), self).flatten(1, 3)
    }

    /// Computes the scores of embeddings, their inner products with SwAV's prototypes. Shapes: `[batch, D]` to
    /// `[batch, P]`.
    ///
    /// # Panics
    /// If the encoder has no prototypes.
    pub fn score(&mut self, encoder: &Encoder, embeddings: Tensor<2>) -> Tensor<2> {
        let prototypes = encoder.prototypes().expect("SwAV's encoder has prototypes");
        self.linear(embeddings.unsqueeze_dims(&[2, 3]), prototypes).flatten(1, 3)
    }

    /// Computes the head's outputs for features. Shapes: `[batch, F]`, `F` of the pass' width, to `[batch, D]`.
    pub fn classify(&mut self, encoder: &Encoder, features: Tensor<2>) -> Tensor<2> {
        encoder.head().visit(features.unsqueeze_dims(&[2, 3]), self).flatten(1, 3)
    }

    /// Returns the slice of `id` that this width uses.
    ///
    /// The slice itself becomes the leaf, so that its gradient has the slice's size, not the full
    /// tensor's padded with zeros.
    fn parameter(&mut self, id: ParameterId) -> Tensor<4> {
        let slice = self.parameters.slice(id, self.width).expect("layers ask only for parameters of the pass' width");
        match &mut self.graph {
            Graph::Untracked => slice,
            Graph::Tracked(leaves) | Graph::Checkpointing(leaves, _) | Graph::Recomputing(leaves) => {
                let leaf = slice.autodiff().require_grad();
                leaves.push((id, leaf.clone()));
                leaf
            }
        }
    }

    /// Returns the output channels of the layer with the weight `id` that this width uses.
    fn output_channels(&self, id: ParameterId) -> Range<usize> {
        let layout = self.parameters.layout();
        layout.spec(id).outputs.range(layout.widths(), self.width)
    }

    /// Returns the running statistic at `id`, `[channels, 1, 1, 1]`.
    fn running(&self, id: ParameterId) -> Tensor<4> {
        self.parameters.get(id).clone()
    }

    /// Multiplies by a mask of this shape: 0 with this probability, else what keeps the mean. Only training drops.
    fn dropped(&mut self, x: Tensor<4>, shape: [usize; 4], probability: f64) -> Tensor<4> {
        let Some(noise) = self.noise.as_mut().filter(|_| probability > 0.0 && self.mode != Mode::Eval) else {
            return x;
        };
        let kept = (1.0 / (1.0 - probability)) as f32;
        let value = |_| if noise.random_bool(probability) { 0.0 } else { kept };
        let mask: Vec<f32> = (0..shape.iter().product()).map(value).collect();
        let mask = Tensor::from_data(TensorData::new(mask, shape), (&x.device(), x.dtype()));
        x * mask
    }

    fn set_running(&mut self, id: ParameterId, value: Tensor<4>) {
        if !matches!(self.graph, Graph::Recomputing(_)) {
            self.parameters.update(id, |_| value);
        }
    }

    /// Computes the gradients of `loss`, `[1]`, with respect to the slices that it depends on; empty if the pass is not
    /// tracked.
    pub fn gradients(mut self, loss: Tensor<1>) -> Vec<(ParameterId, Tensor<4>)> {
        let mut found = Vec::new();
        let (leaves, blocks) = match self.graph {
            Graph::Untracked => return found,
            Graph::Tracked(leaves) | Graph::Recomputing(leaves) => (leaves, Vec::new()),
            Graph::Checkpointing(leaves, blocks) => (leaves, blocks),
        };
        self.graph = Graph::Recomputing(leaves);
        let mut gradients = loss.backward();
        // The loss depends directly on the last block's output of each view: these gradients first.
        let output_gradients: Vec<_> = blocks.iter().map(|block| block.output.grad_remove(&mut gradients)).collect();
        for (Recomputed { rerun, noise, input, output }, output_gradient) in
            blocks.into_iter().zip(output_gradients).rev()
        {
            self.collect(&mut gradients, &mut found);
            let Some(gradient) = output_gradient.or_else(|| output.grad_remove(&mut gradients)) else { continue };
            drop(output);
            let leaf = input.clone().without_autodiff().autodiff().require_grad();
            self.noise = noise;
            let output = rerun(leaf.clone(), &mut self);
            gradients = backward_from(output, gradient);
            self.collect(&mut gradients, &mut found);
            if let Some(gradient) = leaf.grad_remove(&mut gradients) {
                gradients = backward_from(input, gradient);
            }
        }
        self.collect(&mut gradients, &mut found);
        found
    }

    /// Moves the gradients of the leaves to `found`.
    fn collect(&self, gradients: &mut Gradients, found: &mut Vec<(ParameterId, Tensor<4>)>) {
        if let Graph::Recomputing(leaves) = &self.graph {
            found.extend(leaves.iter().filter_map(|(id, leaf)| Some((*id, leaf.grad_remove(gradients)?))));
        }
    }
}

/// Computes the gradients of a graph that ends in `output`, given the gradient of `output`.
fn backward_from(output: Tensor<4>, gradient: Tensor<4>) -> Gradients {
    (output * gradient).sum().backward()
}

impl Visitor for Forward<'_> {
    type Value = Tensor<4>;

    fn width(&self) -> usize {
        self.width
    }

    fn block(&mut self, x: Tensor<4>, block: &(impl Visit + Clone + 'static)) -> Tensor<4> {
        match mem::replace(&mut self.graph, Graph::Untracked) {
            Graph::Checkpointing(leaves, mut blocks) => {
                let noise = self.noise.clone();
                let output = block.visit(x.clone().without_autodiff(), self).autodiff().require_grad();
                let block = block.clone();
                let rerun = Box::new(move |x, forward: &mut Forward| block.visit(x, forward));
                blocks.push(Recomputed { rerun, noise, input: x, output: output.clone() });
                self.graph = Graph::Checkpointing(leaves, blocks);
                output
            }
            graph => {
                self.graph = graph;
                block.visit(x, self)
            }
        }
    }

    fn fork(&mut self, x: Tensor<4>) -> [Tensor<4>; 2] {
        fork(x)
    }

    /// Shapes: `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`, rounded up.
    fn conv(&mut self, x: Tensor<4>, layer: &SlimConv2d) -> Tensor<4> {
        let weight = self.parameter(layer.weight());
        let stride = layer.stride();
        let channels = self.output_channels(layer.weight());
        let stem = self.stem.as_deref_mut().filter(|_| layer.sees_images());
        let kernel = weight.dims()[2];
        let convolve = |x, weight| match stem {
            Some(stem) => stem.conv(x, weight, channels, stride),
            None => conv(x, weight, stride),
        };
        let product = conv_in_precision(self.precision, x, weight, |x, weight| match layer.padding() {
            Padding::Symmetric => convolve(x, weight),
            Padding::TensorFlow => padded_as_tensorflow(x, kernel, stride, |x| convolve(x, weight)),
        });
        match layer.bias() {
            Some(bias) => {
                let bias = self.parameter(bias).swap_dims(0, 1).cast(FloatDType::from(product.dtype()));
                product + bias
            }
            None => product,
        }
    }

    /// In training mode the batch must divide into the pass' splits. Shape: `[batch, channels, height, width]`, kept.
    fn norm(&mut self, x: Tensor<4>, layer: &SwitchableBatchNorm, epilogue: Epilogue<Tensor<4>>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let [gamma, beta] = match layer.affine(self.width) {
            Some(affine) => affine.map(|id| self.parameter(id).reshape([channels])),
            None => {
                let like = self.running(layer.running(self.width)[0]);
                [1.0, 0.0].map(|constant| Tensor::full([channels], constant, (&like.device(), like.dtype())))
            }
        };
        let NormConstants { momentum, epsilon } = layer.constants();
        let ids = layer.running(self.width);
        let running = ids.map(|id| self.running(id));
        match self.mode {
            Mode::Eval => {
                let running = running.map(|statistic| statistic.reshape([channels]));
                batch_norm_eval(x, [gamma, beta], running, epsilon, epilogue)
            }
            Mode::Train { splits } => {
                // Every `splits`-th sample shares its statistics. With the groups as extra channels, one call
                // normalises all of them.
                let is_alone = self.ranks.is_single();
                let grouped = |x: Tensor<4>| {
                    let x = if is_alone { x } else { in_32_bits(x) };
                    x.reshape([batch / splits, splits * channels, height, width])
                };
                let epilogue = match epilogue {
                    Epilogue::AddRelu(shortcut) => Epilogue::AddRelu(grouped(shortcut)),
                    Epilogue::ReluAddRelu(shortcut) => Epilogue::ReluAddRelu(grouped(shortcut)),
                    epilogue => epilogue,
                };
                let per_group = |vector: Tensor<1>| if splits == 1 { vector } else { vector.repeat_dim(0, splits) };
                let [gamma, beta] = [gamma, beta].map(per_group);
                let result = if is_alone {
                    batch_norm_train(grouped(x), gamma, beta, epsilon, epilogue)
                } else {
                    batch_norm_over(&self.ranks, grouped(x), [gamma, beta], epsilon, epilogue)
                };
                let samples = (self.ranks.count() * batch / splits * height * width) as f64;
                let updated =
                    move_running(running, [result.mean, result.variance], momentum, samples / (samples - 1.0));
                ids.into_iter().zip(updated).for_each(|(id, statistic)| self.set_running(id, statistic));
                result.output.reshape([batch, channels, height, width])
            }
        }
    }

    /// Shapes: `[batch, in, 1, 1]` to `[batch, out, 1, 1]`.
    fn linear(&mut self, x: Tensor<4>, layer: &SlimLinear) -> Tensor<4> {
        let weight = self.parameter(layer.weight());
        let [outputs, inputs, ..] = weight.dims();
        let bias = layer.bias().map(|bias| self.parameter(bias).reshape([1, outputs]));
        let x: Tensor<2> = in_32_bits(x).flatten(1, 3);
        let [batch, _] = x.dims();
        let transposed = weight.reshape([outputs, inputs]).transpose();
        let product = linear_in_precision(self.precision, x, transposed, |x, weight| x.matmul(weight));
        let output = match bias {
            Some(bias) => product + bias,
            None => product,
        };
        output.reshape([batch, outputs, 1, 1])
    }

    fn relu(&mut self, x: Tensor<4>) -> Tensor<4> {
        relu(x)
    }

    fn sigmoid(&mut self, x: Tensor<4>) -> Tensor<4> {
        sigmoid(x)
    }

    fn hard_sigmoid(&mut self, x: Tensor<4>) -> Tensor<4> {
        hard_sigmoid(x, 1.0 / 6.0, 0.5)
    }

    fn multiply(&mut self, x: Tensor<4>, factor: Tensor<4>) -> Tensor<4> {
        x * factor
    }

    fn add(&mut self, a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
        a + b
    }

    fn max_pool(&mut self, x: Tensor<4>) -> Tensor<4> {
        max_pool(x)
    }

    fn average_pool(&mut self, x: Tensor<4>) -> Tensor<4> {
        adaptive_avg_pool2d(in_32_bits(x), [1, 1])
    }

    fn dropout(&mut self, x: Tensor<4>, probability: f64) -> Tensor<4> {
        let shape = x.dims();
        self.dropped(x, shape, probability)
    }

    fn stochastic_depth(&mut self, x: Tensor<4>, probability: f64) -> Tensor<4> {
        let [batch, ..] = x.dims();
        self.dropped(x, [batch, 1, 1, 1], probability)
    }
}
