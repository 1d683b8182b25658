//! What the program can do.

pub mod demo;
pub mod evaluate;
pub mod export;
pub mod pretrain;
pub mod profile;
pub mod report;
