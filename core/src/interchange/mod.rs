//! What other programs read and write: PyTorch's tensors, ONNX's graphs.

pub mod onnx;
pub mod sub_network;
pub mod torchvision;
