//! One forward pass through the network at one width.

use std::ops::Range;

use burn::tensor::{
    Gradients, Tensor,
    activation::{relu, sigmoid},
    module::adaptive_avg_pool2d,
};

use crate::{
    backbone::Block,
    kernel::{
        conv::{conv, conv_known},
        pool::max_pool,
    },
    parameter::{ParameterId, Parameters},
    precision::Precision,
    slim::{SlimConv2d, SlimLinear, SwitchableBatchNorm},
    walk::{Then, Walk},
};

/// Where batch norm takes its statistics from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// From the batch, in this many groups, each with statistics of its own (`bn_splits`; 1 for the
    /// whole batch). Running statistics move.
    Train {
        /// Groups that the batch is split into.
        splits: usize,
    },
    /// From the running statistics.
    Eval,
}

/// What layers need to know while a batch goes through them: the parameters, the width, the mode,
/// and whether gradients will be wanted.
pub struct Pass<'a> {
    parameters: &'a mut Parameters,
    width: usize,
    mode: Mode,
    precision: Precision,
    leaves: Option<Vec<(ParameterId, Tensor<4>)>>,
    stem: Option<&'a mut Stem>,
    recomputed: Option<Vec<Recomputed>>,
    /// Whether running statistics stay where they are: those of this batch have moved them.
    again: bool,
}

/// What the convolutions that see the images make of them at full width, of which other widths' are slices. It is for one
/// batch, and for passes in training mode through the same views, that of the full network first.
#[derive(Default)]
pub struct Stem {
    outputs: Vec<Tensor<4>>,
    /// The place of the next one that a pass asks for.
    next: usize,
}

/// A block of which a tracked pass keeps the input and the output, without the graph between them.
struct Recomputed {
    block: Block,
    input: Tensor<4>,
    /// A leaf of the graph of what follows.
    output: Tensor<4>,
}

impl<'a> Pass<'a> {
    /// A pass that records no graph: evaluation, or the momentum encoder.
    pub fn new(parameters: &'a mut Parameters, width: usize, mode: Mode) -> Self {
        let precision = Precision::F32;
        Self { parameters, width, mode, precision, leaves: None, stem: None, recomputed: None, again: false }
    }

    /// A pass whose parameters become leaves of an autodiff graph.
    pub fn tracked(parameters: &'a mut Parameters, width: usize, mode: Mode) -> Self {
        Self { leaves: Some(Vec::new()), ..Self::new(parameters, width, mode) }
    }

    /// The same pass; if it is tracked and `recompute` holds, then only the inputs of blocks after the stem are kept, and what
    /// is between is computed once more for the gradients (activation checkpointing, Chen et al. 2016).
    pub fn recomputing(self, recompute: bool) -> Self {
        let recomputes = recompute && self.leaves.is_some();
        Self { recomputed: recomputes.then(Vec::new), ..self }
    }

    /// The same pass with convolutions and linear layers in `precision`.
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same pass, in which convolutions that see the images are computed only if they are not in `stem`.
    pub fn sharing(self, stem: &'a mut Stem) -> Self {
        stem.next = 0;
        Self { stem: Some(stem), ..self }
    }

    /// What is shared of convolutions that see the images, if anything.
    pub fn stem(&mut self) -> Option<&mut Stem> {
        self.stem.as_deref_mut()
    }

    /// The output channels of the layer with the weight `id` that this width uses.
    pub fn channels(&self, id: ParameterId) -> Range<usize> {
        let layout = self.parameters.layout();
        layout.spec(id).outputs.range(layout.widths(), self.width)
    }

    /// What convolutions and linear layers compute in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Index of the width.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Where norms take their statistics from.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The slice of `id` that this width uses.
    ///
    /// The slice itself becomes the leaf, so that its gradient has the slice's size, not the full
    /// tensor's padded with zeros.
    pub fn parameter(&mut self, id: ParameterId) -> Tensor<4> {
        let slice = self.parameters.slice(id, self.width).expect("a layer asks only for parameters of the pass' width");
        match &mut self.leaves {
            None => slice,
            Some(leaves) => {
                let leaf = slice.autodiff().require_grad();
                leaves.push((id, leaf.clone()));
                leaf
            }
        }
    }

    /// The running statistic at `id`, `[channels, 1, 1, 1]`.
    pub fn running(&self, id: ParameterId) -> Tensor<4> {
        self.parameters.get(id).clone()
    }

    /// Replaces the running statistic at `id`.
    pub fn set_running(&mut self, id: ParameterId, value: Tensor<4>) {
        if !self.again {
            self.parameters.update(id, |_| value);
        }
    }

    /// The gradients of `loss`, `[1]`, of the slices that the pass used and the loss depends on; none if it was not tracked.
    pub fn gradients(mut self, loss: Tensor<1>) -> Vec<(ParameterId, Tensor<4>)> {
        let mut found = Vec::new();
        let mut gradients = loss.backward();
        let blocks = self.recomputed.take().unwrap_or_default();
        self.again = true;
        // Where several views went through the blocks, the loss depends on the last output of each.
        let of_outputs: Vec<_> = blocks.iter().map(|block| block.output.grad_remove(&mut gradients)).collect();
        for (Recomputed { block, input, output }, of_output) in blocks.into_iter().zip(of_outputs).rev() {
            self.collect(&mut gradients, &mut found);
            let Some(gradient) = of_output.or_else(|| output.grad_remove(&mut gradients)) else { continue };
            drop(output);
            let leaf = input.clone().without_autodiff().autodiff().require_grad();
            let output = block.walk(leaf.clone(), &mut self);
            gradients = pulled_back(output, gradient);
            self.collect(&mut gradients, &mut found);
            if let Some(gradient) = leaf.grad_remove(&mut gradients) {
                gradients = pulled_back(input, gradient);
            }
        }
        self.collect(&mut gradients, &mut found);
        found
    }

    /// Moves the gradients of the slices that were used to those that were found.
    fn collect(&mut self, gradients: &mut Gradients, found: &mut Vec<(ParameterId, Tensor<4>)>) {
        for (id, leaf) in self.leaves.iter_mut().flatten() {
            found.extend(leaf.grad_remove(gradients).map(|gradient| (*id, gradient)));
        }
    }
}

/// Gradients of what `output` depends on, given its own.
fn pulled_back(output: Tensor<4>, gradient: Tensor<4>) -> Gradients {
    (output * gradient).sum().backward()
}

impl Walk for Pass<'_> {
    type Value = Tensor<4>;

    fn width(&self) -> usize {
        self.width
    }

    fn block(&mut self, x: Tensor<4>, block: &Block) -> Tensor<4> {
        let Some(mut recomputed) = self.recomputed.take() else { return block.walk(x, self) };
        let leaves = self.leaves.take();
        let output = block.walk(x.clone().without_autodiff(), self).autodiff().require_grad();
        self.leaves = leaves;
        recomputed.push(Recomputed { block: block.clone(), input: x, output: output.clone() });
        self.recomputed = Some(recomputed);
        output
    }

    fn conv(&mut self, x: Tensor<4>, conv: &SlimConv2d) -> Tensor<4> {
        conv.forward(x, self)
    }

    fn norm(&mut self, x: Tensor<4>, norm: &SwitchableBatchNorm, then: Then<Tensor<4>>) -> Tensor<4> {
        norm.forward(x, then, self)
    }

    fn linear(&mut self, x: Tensor<4>, linear: &SlimLinear) -> Tensor<4> {
        linear.forward(x, self)
    }

    fn relu(&mut self, x: Tensor<4>) -> Tensor<4> {
        relu(x)
    }

    fn sigmoid(&mut self, x: Tensor<4>) -> Tensor<4> {
        sigmoid(x)
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
        adaptive_avg_pool2d(x, [1, 1])
    }
}

impl Stem {
    /// A convolution whose outputs are these `channels` of the full network's.
    pub fn conv(&mut self, x: Tensor<4>, weight: Tensor<4>, channels: Range<usize>, stride: usize) -> Tensor<4> {
        let known = self.outputs.get(self.next).cloned();
        self.next += 1;
        match known {
            Some(full) => conv_known(x, weight, full.slice_dim(1, channels), stride),
            None => {
                let output = conv(x, weight, stride);
                self.outputs.push(output.clone().without_autodiff());
                output
            }
        }
    }
}
