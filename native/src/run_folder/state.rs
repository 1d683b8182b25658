//! Whether a run is in training.

use std::fmt;

use slimclr_core::event::Event;

use super::RunFolder;
use crate::run_lock::RunLock;

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A process trains it.
    Running,
    /// It was stopped before its end, or its process was killed.
    Stopped,
    /// It has reached its end.
    Finished,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
        })
    }
}

impl RunFolder {
    /// Returns the run's state, given its events.
    pub fn state(&self, events: &[Event]) -> State {
        // `evaluate` may have added to the log.
        let latest = events.iter().rfind(|event| !matches!(event, Event::Evaluated(_)));
        match latest {
            Some(Event::Finished { .. }) => State::Finished,
            Some(Event::Stopped { .. }) => State::Stopped,
            _ if RunLock::is_held(&self.path) => State::Running,
            _ => State::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use slimclr_core::{augment::Normalisation, config::Config, dataset::DatasetSummary, event::Evaluated};

    use super::*;

    #[test]
    fn a_run_is_running_while_its_lock_is_held_unless_its_log_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = DatasetSummary::without_digests(Normalisation::CIFAR10, Vec::new(), [9, 1]);
        let (run, lock) = RunFolder::create(&folder.path().join("run"), &Config::mini(), &dataset).unwrap();
        let evaluated = Event::Evaluated(Evaluated::default());
        let stopped = [Event::Stopped { step: 3 }, evaluated.clone()];
        let finished = [Event::Finished { step: 9, seconds: 1.0 }, evaluated];
        let states =
            || [&[][..], &[Event::Checkpoint { step: 3 }], &stopped, &finished].map(|events| run.state(events));
        assert_eq!(states(), [State::Running, State::Running, State::Stopped, State::Finished]);
        drop(lock);
        assert_eq!(states(), [State::Stopped, State::Stopped, State::Stopped, State::Finished]);
    }
}
