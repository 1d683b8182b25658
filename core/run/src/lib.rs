//! A run as plain data, without tensors: its options, its schedule, the events that it reports, the commands that it
//! takes.
#![warn(missing_docs)]

pub mod collapse;
pub mod command;
pub mod compress;
pub mod config;
pub mod dataset;
pub mod distill;
pub mod event;
pub mod interference;
pub mod method;
pub mod normalisation;
pub mod optimizer;
pub mod precision;
pub mod probe;
pub mod reweight;
pub mod scaling;
pub mod schedule;
pub mod simdis;
pub mod surgery;
