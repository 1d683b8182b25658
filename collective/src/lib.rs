//! The processes that train a run together: how they were launched, and the engine that connects them.
#![warn(missing_docs)]

pub mod launch;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "mpi")]
mod place;

#[cfg(feature = "mpi")]
pub use self::{
    mpi::{Job, JoinError, host},
    place::Place,
};
