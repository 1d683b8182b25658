//! The comparison's teacher: how systems use it, and what it cost.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use slimclr_core::{config::Recipe, encoder::EncoderConfig};

use super::System;
use crate::{
    experiment::arm_result::{ArmResult, State, training_seconds},
    run_folder::RunFolder,
};

/// What a system learns from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Teaching {
    /// The images alone.
    None,
    /// A frozen teacher.
    Frozen,
    /// A frozen teacher, in a short run that training starts from.
    AtFirst,
    /// A teacher that is trained beside each student.
    Online,
}

impl System {
    /// Returns what it learns from.
    pub fn teaching(self) -> Teaching {
        match self {
            Self::Single(Recipe::Seed | Recipe::Disco | Recipe::Bingo | Recipe::Compress | Recipe::Kd) => {
                Teaching::Frozen
            }
            Self::Single(Recipe::Shi) => Teaching::AtFirst,
            Self::Single(Recipe::Simdis) => Teaching::Online,
            Self::Single(Recipe::Byol | Recipe::Swav) | Self::SlimclrMocov2 | Self::SlimclrMocov3 => Teaching::None,
        }
    }
}

/// A trained teacher.
#[derive(Debug, Clone, Serialize)]
pub struct Teacher {
    /// Its architecture.
    pub network: String,
    /// Whether it is trained by an arm, not before.
    pub is_of_arm: bool,
    /// Seconds of its training; `None` if they are not known, or it is not trained yet.
    pub seconds: Option<f64>,
    /// Top-1 of its linear probe, if it is that of an arm.
    pub top1: Option<f64>,
    /// Top-5 of its linear probe.
    pub top5: Option<f64>,
}

impl Teacher {
    /// A teacher that was trained before, of which `path` has a run or the weights.
    ///
    /// # Errors
    /// If it is a run whose events cannot be read.
    pub fn given(path: &Path, architecture: &EncoderConfig) -> Result<Self> {
        let seconds = match path.is_dir() {
            true => Some(training_seconds(&RunFolder::open(path)?.events()?)),
            false => None,
        };
        Ok(Self { network: architecture.to_string(), is_of_arm: false, seconds, top1: None, top5: None })
    }

    /// The teacher of an arm with this result, if it has started.
    pub fn of_arm(architecture: &EncoderConfig, arm: Option<&ArmResult>) -> Self {
        let done = arm.filter(|arm| arm.state == State::Done);
        let evaluated = done.and_then(|arm| arm.evaluated_at(1.0));
        Self {
            network: architecture.to_string(),
            is_of_arm: true,
            seconds: done.map(|arm| arm.training_seconds),
            top1: evaluated.and_then(|it| it.probe),
            top5: evaluated.and_then(|it| it.probe_top5),
        }
    }
}
