//! One forward pass through the network at one width.

use std::ops::Range;

use burn::tensor::{
    Gradients, Tensor,
    activation::{relu, sigmoid},
    module::adaptive_avg_pool2d,
};

use crate::{
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
    leaves: Option<Leaves>,
    stem: Option<&'a mut Stem>,
}

/// What the convolutions that see the images make of them at full width, of which other widths' are slices. It is for one
/// batch, and for passes in training mode through the same views, that of the full network first.
#[derive(Default)]
pub struct Stem {
    outputs: Vec<Tensor<4>>,
    /// The place of the next one that a pass asks for.
    next: usize,
}

/// The slices of the parameters that a tracked pass used: the leaves of its graph.
#[derive(Default)]
pub struct Leaves(Vec<(ParameterId, Tensor<4>)>);

impl<'a> Pass<'a> {
    /// A pass that records no graph: evaluation, or the momentum encoder.
    pub fn new(parameters: &'a mut Parameters, width: usize, mode: Mode) -> Self {
        Self { parameters, width, mode, precision: Precision::F32, leaves: None, stem: None }
    }

    /// A pass whose parameters become leaves of an autodiff graph.
    pub fn tracked(parameters: &'a mut Parameters, width: usize, mode: Mode) -> Self {
        Self { leaves: Some(Leaves::default()), ..Self::new(parameters, width, mode) }
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
            Some(Leaves(leaves)) => {
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
        self.parameters.update(id, |_| value);
    }

    /// The leaves that the pass used; empty if it was not tracked.
    pub fn into_leaves(self) -> Leaves {
        self.leaves.unwrap_or_default()
    }
}

impl Walk for Pass<'_> {
    type Value = Tensor<4>;

    fn width(&self) -> usize {
        self.width
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

impl Leaves {
    /// The gradient of every leaf that the loss reached, in the shape of its slice.
    pub fn gradients(self, mut gradients: Gradients) -> impl Iterator<Item = (ParameterId, Tensor<4>)> {
        self.0.into_iter().filter_map(move |(id, leaf)| leaf.grad_remove(&mut gradients).map(|gradient| (id, gradient)))
    }
}
