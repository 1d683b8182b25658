//! Exchange with other programs: PyTorch and safetensors files in, torchvision safetensors and ONNX files out.

pub mod exported;
pub mod file_kind;
pub mod infer_architecture;
mod named_tensor;
pub mod not_a_network;
pub mod onnx;
pub mod pretrained;
pub mod pytorch;
pub mod safetensors_file;
pub mod sub_network;
pub mod torchvision;
