//! Commands to a run that is training.

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// A command to a run that is training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Wait before the next step.
    Pause,
    /// Continue.
    Resume,
    /// Take one step, then pause again.
    SingleStep,
    /// Continue with other options, as far as [`Config::check_change`] allows.
    Change(Box<Config>),
    /// Write a checkpoint and stop.
    Stop,
}
