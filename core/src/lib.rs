//! Slimmable self-supervised networks: one pre-training run, several encoders of different width that
//! share their weights.
//!
//! After *Slimmable Networks for Contrastive Self-supervised Learning* (Zhao, Zhu, Wang, Yang; IJCV
//! 2024). This crate is the science: no files, no threads, no clock, no printing. It builds for native
//! programs and for wasm32.
#![warn(missing_docs)]

pub mod augment;
pub mod backbone;
pub mod checkpoint;
pub mod collapse;
pub mod config;
pub mod data;
pub mod encoder;
pub mod eval;
pub mod event;
pub mod gradient;
pub mod head;
pub mod image;
pub mod interchange;
pub mod interference;
pub mod kernel;
pub mod loss;
pub mod memory;
pub mod method;
pub mod optim;
pub mod parameter;
pub mod pass;
pub mod precision;
pub mod profile;
pub mod slim;
pub mod train;
pub mod walk;
pub mod width;
