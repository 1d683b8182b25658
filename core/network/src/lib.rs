//! Architectures of slimmable networks as plain data, without tensors.
//!
//! A [`Layout`](layout::Layout) is the table of a network's parameters. [Layers](layers) hold indices into it;
//! [backbones](backbone) and [heads](head) put layers in order; an [`Encoder`](encoder::Encoder) is a backbone with a
//! head. A [`Visitor`](visitor::Visitor) decides what the layers do: `slimclr-core` runs them, [`profile`] counts their
//! costs, [`operations`] lists what they read and write.
#![warn(missing_docs)]

pub mod backbone;
pub mod encoder;
mod error;
pub mod head;
pub mod layers;
pub mod layout;
pub mod operations;
pub mod profile;
pub mod visitor;
pub mod width;
