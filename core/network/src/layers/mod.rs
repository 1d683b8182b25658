//! Slimmable and switchable layers (paper section 3.1): which parameters each has, and which slice a width uses.
//!
//! A *slimmable* layer has one weight, of which each width uses a slice. A *switchable* layer has a separate set of
//! parameters for each width. Layers hold indices into a [`Layout`](crate::layout::Layout), not values; a
//! [`Visitor`](crate::visitor::Visitor) decides what they compute.

pub mod conv;
pub mod linear;
pub mod norm;

pub use conv::{Padding, SlimConv2d};
pub use linear::{SlimLinear, SwitchableLinear};
pub use norm::{NormConstants, SwitchableBatchNorm};
