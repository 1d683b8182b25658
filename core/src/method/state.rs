//! The state that methods keep between steps and in checkpoints.

use burn::tensor::Tensor;

/// A tensor that a method keeps between steps.
#[derive(Debug, Clone)]
pub struct StateTensor {
    /// Its name in checkpoints.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// Its values, in row-major order.
    pub values: Tensor<1>,
}

impl StateTensor {
    /// Creates one of a matrix.
    pub fn matrix(name: impl Into<String>, values: &Tensor<2>) -> Self {
        Self { name: name.into(), shape: values.dims().to_vec(), values: values.clone().flatten(0, 1) }
    }
}
