//! Tensors that are exported.

/// A tensor with torchvision's name.
pub(super) struct NamedTensor {
    /// Such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Its dimensions, those of PyTorch.
    pub shape: Vec<usize>,
    /// `f32` in row-major order, little-endian.
    pub values: Vec<u8>,
}
