//! Progress messages.

use std::{fmt::Display, time::Instant};

use anyhow::Result;

use crate::duration::HumanDuration;

/// Logs the start of `work`, then its outcome and how long it took.
///
/// # Errors
/// Those of `work`.
pub fn timed<T: Display>(stage: &str, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    info(stage, what);
    let result = work();
    let elapsed = HumanDuration(start.elapsed());
    match &result {
        Ok(outcome) => info(stage, &format!("{outcome}, in {elapsed}")),
        Err(_) => info(stage, &format!("failed after {elapsed}")),
    }
    result
}

/// Writes a line to standard error, where cargo and nextest write too, so that the order is kept.
pub fn info(stage: &str, message: &str) {
    eprintln!("[{stage}] {message}");
}
