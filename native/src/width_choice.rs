//! The flag `--width` of commands that take one width or all of them.

use std::{ops::Range, path::Path, str::FromStr};

use anyhow::Result;
use slimclr_core::width::Widths;

use crate::pretrained;

/// One width, or all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WidthChoice {
    /// All widths of the network.
    All,
    /// This width.
    One(f64),
}

impl FromStr for WidthChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "all" => Ok(Self::All),
            number => number.parse().map(Self::One).map_err(|_| "write a width such as 0.5, or all"),
        }
    }
}

impl WidthChoice {
    /// Returns the indices of the chosen widths among those of the network in `path`.
    ///
    /// # Errors
    /// If it has no such width.
    pub fn indices(self, widths: &Widths, path: &Path) -> Result<Range<usize>> {
        match self {
            Self::All => Ok(0..widths.len()),
            Self::One(width) => pretrained::position(widths, width, path).map(|index| index..index + 1),
        }
    }
}
