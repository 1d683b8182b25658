//! Programs of the machine that a task may find missing.

use std::fmt;

use anyhow::{Result, bail};

/// A program, or what to install where it is missing.
pub enum Tool<T> {
    Ready(T),
    Missing(String),
}

impl<T> Tool<T> {
    /// Returns the program.
    ///
    /// # Errors
    /// If it is missing.
    pub fn require(self) -> Result<T> {
        match self {
            Self::Ready(tool) => Ok(tool),
            Self::Missing(advice) => bail!(advice),
        }
    }
}

impl<T> fmt::Display for Tool<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Ready(_) => f.write_str("ready"),
            Self::Missing(advice) => f.write_str(advice),
        }
    }
}
