//! The visitor of an architecture's layers.
//!
//! Backbones and heads define the order of the layers once. A visitor decides what each layer does: one runs the
//! network, one counts its operations, one exports it.

use crate::layers::{SlimConv2d, SlimLinear, SwitchableBatchNorm};

/// A sequence of layers that a visitor can visit.
pub trait Visit {
    /// Visits the layers in order, from the input `x`, and returns their output.
    fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value;
}

/// Visits the layers of an architecture in the order of the forward pass.
pub trait Visitor {
    /// The value passed between layers, such as a tensor, its shape or its name.
    type Value: Clone;

    /// Returns the index of the visited width.
    fn width(&self) -> usize;

    /// Begins the stage `name`.
    fn stage(&mut self, _name: &str) {}

    /// Visits a block after the stem.
    fn block(&mut self, x: Self::Value, block: &(impl Visit + Clone + 'static)) -> Self::Value
    where
        Self: Sized,
    {
        block.visit(x, self)
    }

    /// Returns `x` twice, for the two ways of a residual block.
    fn fork(&mut self, x: Self::Value) -> [Self::Value; 2] {
        [x.clone(), x]
    }

    /// Visits a convolution.
    fn conv(&mut self, x: Self::Value, conv: &SlimConv2d) -> Self::Value;

    /// Visits a batch norm and the operations after it.
    fn norm(&mut self, x: Self::Value, norm: &SwitchableBatchNorm, epilogue: Epilogue<Self::Value>) -> Self::Value;

    /// Visits a linear layer over `[batch, channels, 1, 1]`.
    fn linear(&mut self, x: Self::Value, linear: &SlimLinear) -> Self::Value;

    /// Applies ReLU.
    fn relu(&mut self, x: Self::Value) -> Self::Value;

    /// Applies the sigmoid function.
    fn sigmoid(&mut self, x: Self::Value) -> Self::Value;

    /// Applies SiLU, `x * sigmoid(x)`.
    fn silu(&mut self, x: Self::Value) -> Self::Value {
        let gate = self.sigmoid(x.clone());
        self.multiply(x, gate)
    }

    /// Applies the hard sigmoid, `relu6(x + 3) / 6`.
    fn hard_sigmoid(&mut self, x: Self::Value) -> Self::Value;

    /// Applies hard swish, `x * hard_sigmoid(x)`.
    fn hard_swish(&mut self, x: Self::Value) -> Self::Value {
        let gate = self.hard_sigmoid(x.clone());
        self.multiply(x, gate)
    }

    /// Multiplies by `factor`, of the same shape or `[batch, channels, 1, 1]`.
    fn multiply(&mut self, x: Self::Value, factor: Self::Value) -> Self::Value;

    /// Adds two values of the same shape.
    fn add(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;

    /// Applies 3x3 max pooling with stride 2 and padding 1.
    fn max_pool(&mut self, x: Self::Value) -> Self::Value;

    /// Applies global average pooling, to `[batch, channels, 1, 1]`.
    fn average_pool(&mut self, x: Self::Value) -> Self::Value;

    /// Sets values to 0 with this probability in training, and scales the others so that the mean stays (dropout;
    /// Srivastava et al. 2014).
    fn dropout(&mut self, x: Self::Value, _probability: f64) -> Self::Value {
        x
    }

    /// Does the same with all values of an image together: those of a block that its input is added to (stochastic depth;
    /// Huang et al. 2016).
    fn stochastic_depth(&mut self, x: Self::Value, _probability: f64) -> Self::Value {
        x
    }
}

/// The operations after a batch norm, which fused kernels compute with it.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "short-lived, a few dozen per forward pass")]
pub enum Epilogue<V> {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// Add the shortcut, then ReLU.
    AddRelu(V),
    /// ReLU, then add the shortcut, then ReLU.
    ReluAddRelu(V),
}
