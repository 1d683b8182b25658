//! Residual blocks (He et al. 2016).

use super::{ConvNorm, ConvNormShape};
use crate::{
    layout::Layout,
    visitor::{Epilogue, Visitor},
    width::{Channels, WidthError},
};

/// A residual block: convolutions with norms, ReLU between them, added to the shortcut before the last ReLU.
#[derive(Debug, Clone)]
pub struct Residual {
    layers: Vec<ConvNorm>,
    /// Whether the inner path also has a ReLU before the sum, as the authors' CIFAR blocks do. The paper does not say.
    relu_before_sum: bool,
    /// A 1x1 convolution where the shape changes; the identity otherwise.
    shortcut: Option<ConvNorm>,
}

impl Residual {
    /// Creates a basic block: two 3x3 convolutions, the first with the stride.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn basic(layout: &mut Layout, name: &str, sides: [Channels; 2], stride: usize) -> Result<Self, WidthError> {
        let [inputs, outputs] = sides;
        Self::new(layout, name, sides, stride, &[([inputs, outputs], 3, stride), ([outputs, outputs], 3, 1)], 1.0)
    }

    /// Creates a [`basic`](Self::basic) block as in the authors' CIFAR code.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn cifar(layout: &mut Layout, name: &str, sides: [Channels; 2], stride: usize) -> Result<Self, WidthError> {
        Ok(Self { relu_before_sum: true, ..Self::basic(layout, name, sides, stride)? })
    }

    /// Creates a bottleneck block: 1x1, 3x3 with the stride (v1.5), 1x1. The last norm's scale starts at zero, so that
    /// the block starts as its shortcut.
    ///
    /// # Errors
    /// If some width would have no channels.
    pub fn bottleneck(
        layout: &mut Layout,
        name: &str,
        [inputs, middle, outputs]: [Channels; 3],
        stride: usize,
    ) -> Result<Self, WidthError> {
        let layers = [([inputs, middle], 1, 1), ([middle, middle], 3, stride), ([middle, outputs], 1, 1)];
        Self::new(layout, name, [inputs, outputs], stride, &layers, 0.0)
    }

    fn new(
        layout: &mut Layout,
        name: &str,
        [inputs, outputs]: [Channels; 2],
        stride: usize,
        layers: &[([Channels; 2], usize, usize)],
        last_gamma: f64,
    ) -> Result<Self, WidthError> {
        let last = layers.len();
        let layers = (1..)
            .zip(layers)
            .map(|(place, &(sides, kernel, stride))| {
                let names = [format!("{name}.conv{place}"), format!("{name}.bn{place}")];
                let gamma = if place == last { last_gamma } else { 1.0 };
                ConvNorm::new(layout, [&names[0], &names[1]], ConvNormShape { sides, kernel, stride, gamma })
            })
            .collect::<Result<_, _>>()?;
        let shortcut = (stride != 1 || inputs != outputs)
            .then(|| {
                let names = [format!("{name}.shortcut.0"), format!("{name}.shortcut.1")];
                let shape = ConvNormShape { sides: [inputs, outputs], kernel: 1, stride, gamma: 1.0 };
                ConvNorm::new(layout, [&names[0], &names[1]], shape)
            })
            .transpose()?;
        Ok(Self { layers, relu_before_sum: false, shortcut })
    }

    pub(super) fn visit<V: Visitor>(&self, x: V::Value, visitor: &mut V) -> V::Value {
        let (last, earlier) = self.layers.split_last().expect("a block has layers");
        let [mut inner, x] = visitor.fork(x);
        for layer in earlier {
            inner = layer.visit(inner, Epilogue::Relu, visitor);
        }
        let outer = match &self.shortcut {
            Some(shortcut) => shortcut.visit(x, Epilogue::Nothing, visitor),
            None => x,
        };
        let epilogue = if self.relu_before_sum { Epilogue::ReluAddRelu(outer) } else { Epilogue::AddRelu(outer) };
        last.visit(inner, epilogue, visitor)
    }
}
