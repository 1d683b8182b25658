//! Networks from and for other programs.

pub mod authors;
pub mod onnx;
pub mod sub_network;
pub mod torchvision;
