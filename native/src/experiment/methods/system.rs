//! The systems that the paper compares.

use std::fmt::{Display, Formatter};

use slimclr_core::config::Recipe;

/// A system of pre-training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum System {
    /// A recipe that trains one network at a time.
    Single(Recipe),
    /// SlimCLR with MoCo v2, which trains networks of all widths at once.
    SlimclrMocov2,
    /// SlimCLR with MoCo v3, likewise.
    SlimclrMocov3,
}

impl System {
    /// Returns all systems, in the order of the tables.
    pub fn all() -> Vec<Self> {
        Recipe::ALL.into_iter().map(Self::Single).chain([Self::SlimclrMocov2, Self::SlimclrMocov3]).collect()
    }

    /// Returns whether one training gives its networks of all widths.
    pub fn trains_all_widths(self) -> bool {
        matches!(self, Self::SlimclrMocov2 | Self::SlimclrMocov3)
    }

    /// Returns its name in the tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Single(Recipe::Seed) => "SEED",
            Self::Single(Recipe::Disco) => "DisCo",
            Self::Single(Recipe::Bingo) => "BINGO",
            Self::Single(Recipe::Compress) => "CompRess",
            Self::Single(Recipe::Simdis) => "SimDis",
            Self::Single(Recipe::Byol) => "BYOL",
            Self::Single(Recipe::Kd) => "KD",
            Self::Single(Recipe::Shi) => "Shi et al.",
            Self::Single(Recipe::Swav) => "SwAV",
            Self::SlimclrMocov2 => "SlimCLR-MoCo v2",
            Self::SlimclrMocov3 => "SlimCLR-MoCo v3",
        }
    }
}

impl Display for System {
    /// Writes its name on the command line, which begins the names of its arms.
    fn fmt(&self, formatter: &mut Formatter) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Single(Recipe::Seed) => "seed",
            Self::Single(Recipe::Disco) => "disco",
            Self::Single(Recipe::Bingo) => "bingo",
            Self::Single(Recipe::Compress) => "compress",
            Self::Single(Recipe::Simdis) => "simdis",
            Self::Single(Recipe::Byol) => "byol",
            Self::Single(Recipe::Kd) => "kd",
            Self::Single(Recipe::Shi) => "shi",
            Self::Single(Recipe::Swav) => "swav",
            Self::SlimclrMocov2 => "slimclr-mocov2",
            Self::SlimclrMocov3 => "slimclr-mocov3",
        })
    }
}
