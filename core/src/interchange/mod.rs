//! Exchange with other programs: PyTorch files in, torchvision safetensors and ONNX files out.

pub mod infer_architecture;
mod named_tensor;
pub mod onnx;
pub mod pretrained;
pub mod pytorch;
pub mod sub_network;
pub mod torchvision;
