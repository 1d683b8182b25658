//! What the program can do.

pub mod demo;
pub mod evaluate;
pub mod pretrain;
pub mod profile;
