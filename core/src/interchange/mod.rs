//! Networks from and for other programs.

pub mod authors;
pub mod onnx;
mod pickle;
pub mod pytorch;
pub mod sub_network;
pub mod torchvision;
pub mod trained;
