//! Activation functions.

use crate::visitor::Visitor;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Relu,
    Silu,
    HardSwish,
}

impl Activation {
    pub fn visit<V: Visitor>(self, x: V::Value, visitor: &mut V) -> V::Value {
        match self {
            Self::Relu => visitor.relu(x),
            Self::Silu => visitor.silu(x),
            Self::HardSwish => visitor.hard_swish(x),
        }
    }
}
