//! The visitor of an architecture's layers.
//!
//! Backbones and heads define the order of the layers once. A visitor decides what each layer does: one runs the network,
//! one counts its operations, one exports it.

use crate::layers::{SlimConv2d, SlimLinear, SwitchableBatchNorm};

/// Layers that a visitor can be led through.
pub trait Visit {
    /// Visits the layers in order: from their input to their output.
    fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value;
}

/// Visits the layers of an architecture in the order of the forward pass.
pub trait Visitor {
    /// What flows between layers, such as a tensor, its shape or its name.
    type Value: Clone;

    /// Index of the visited width.
    fn width(&self) -> usize;

    /// Begins the stage `name`.
    fn stage(&mut self, _name: &str) {}

    /// A block after the stem.
    fn block(&mut self, x: Self::Value, block: &(impl Visit + Clone + 'static)) -> Self::Value
    where
        Self: Sized,
    {
        block.visit(x, self)
    }

    /// A convolution.
    fn conv(&mut self, x: Self::Value, conv: &SlimConv2d) -> Self::Value;

    /// A batch norm, and what follows it.
    fn norm(&mut self, x: Self::Value, norm: &SwitchableBatchNorm, epilogue: Epilogue<Self::Value>) -> Self::Value;

    /// A linear layer over `[batch, channels, 1, 1]`.
    fn linear(&mut self, x: Self::Value, linear: &SlimLinear) -> Self::Value;

    /// ReLU.
    fn relu(&mut self, x: Self::Value) -> Self::Value;

    /// Sigmoid.
    fn sigmoid(&mut self, x: Self::Value) -> Self::Value;

    /// SiLU, `x * sigmoid(x)`.
    fn silu(&mut self, x: Self::Value) -> Self::Value {
        let gate = self.sigmoid(x.clone());
        self.multiply(x, gate)
    }

    /// The product with `factor`, which is of the same shape or one number a channel, `[batch, channels, 1, 1]`.
    fn multiply(&mut self, x: Self::Value, factor: Self::Value) -> Self::Value;

    /// The sum of two values of one shape.
    fn add(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;

    /// 3x3 max pooling of stride 2, padded by 1.
    fn max_pool(&mut self, x: Self::Value) -> Self::Value;

    /// Global average pooling, to `[batch, channels, 1, 1]`.
    fn average_pool(&mut self, x: Self::Value) -> Self::Value;
}

/// The operations after a batch norm, which fused kernels compute with it.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "made and taken apart at once, a few dozen times a forward pass")]
pub enum Epilogue<V> {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// The shortcut is added, then ReLU.
    AddRelu(V),
    /// ReLU, then the shortcut is added, then ReLU.
    ReluAddRelu(V),
}
