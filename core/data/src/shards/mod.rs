//! Shards: tar files of samples in WebDataset's layout, and the order in which an epoch reads them.
//!
//! A sample is a run of neighbouring members with one key: `key.jpg` and its class, `key.cls`.

mod members;
mod order;
mod pattern;

pub use members::{Omission, Omitted, Role, Sample, Samples, role};
pub use order::{BUFFER, STREAMS, ShardOrder};
pub use pattern::{PatternError, expand, is_test};
