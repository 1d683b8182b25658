//! Slimmable self-supervised networks: one pre-training run gives several encoders of different width that share their
//! weights.
//!
//! After *Slimmable Networks for Contrastive Self-supervised Learning* (Zhao, Zhu, Wang, Yang; IJCV 2024). The library
//! reads and writes no files and prints nothing: a [`Host`](train::Host) gives a run its images, its clock and a place
//! for checkpoints. It computes with Burn, on all cores of a CPU or on a GPU, and builds for wasm32 too.
#![warn(missing_docs)]

pub mod cancellable;
pub mod checkpoint;
pub mod embedder;
pub mod eval;
pub mod forward;
pub mod gradient;
pub mod interchange;
pub mod interference;
pub mod loss;
pub mod memory;
pub mod method;
pub mod optim;
pub mod parameter;
pub mod precision;
pub mod train;

pub use slimclr_data::{self as data, augment, image};
pub use slimclr_kernels as kernel;
pub use slimclr_network::{backbone, encoder, head, layers, layout, profile, visitor, width};
pub use slimclr_run::{collapse, command, config, dataset, event, normalisation, scaling, schedule};
