//! What the chores say of their progress.

use std::{fmt::Display, time::Instant};

use anyhow::Result;

use crate::duration::InWords;

/// Announces a stage, does its work, and says how that ended and how long it took.
///
/// # Errors
/// Those of the work.
pub fn timed<T: Display>(name: &str, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    say(name, what);
    let done = work();
    let elapsed = InWords(start.elapsed());
    match &done {
        Ok(outcome) => say(name, &format!("{outcome}, in {elapsed}")),
        Err(_) => say(name, &format!("failed after {elapsed}")),
    }
    done
}

/// On standard error, where cargo and nextest write too, so that the lines stay in order.
pub fn say(stage: &str, what: &str) {
    eprintln!("[{stage}] {what}");
}
