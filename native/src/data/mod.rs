//! Data sets and their batches.

pub mod cifar10;
mod damage;
mod dataset;
pub mod embedded;
pub mod fetch;
pub mod folder;
pub mod image_file;
mod listing;
pub mod loader;
mod open;
pub mod shards;

pub use self::{
    dataset::{Dataset, Stored},
    open::{EMBEDDED, open, open_cifar10, open_for, open_of_run},
};
