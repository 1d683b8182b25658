//! A run's log of events, in JSON Lines.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::PathBuf,
};

use anyhow::{Context, Result};
use slimclr_core::event::Event;

use super::{EVENTS, RunFolder};
use crate::{
    files::{read_optional, write_atomically},
    run_lock::RunLock,
};

impl RunFolder {
    /// Reads the run's events in order, skipping truncated and damaged lines.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn events(&self) -> Result<Vec<Event>> {
        Ok(self.lines()?.into_iter().map(|(event, _)| event).collect())
    }

    /// Returns whether the network was evaluated after `step` steps.
    ///
    /// # Errors
    /// If the events cannot be read.
    pub fn has_evaluation(&self, step: u64) -> Result<bool> {
        Ok(self.events()?.iter().any(|event| matches!(event, Event::Evaluated(_)) && event.step() == step))
    }

    /// Returns the steps taken when the latest checkpoint was saved, by the log.
    pub(super) fn logged_checkpoint(&self) -> Result<Option<u64>> {
        let events = self.events()?;
        Ok(events.iter().filter(|event| matches!(event, Event::Checkpoint { .. })).map(Event::step).max())
    }

    /// Reads the events, each with the bytes of its line.
    fn lines(&self) -> Result<Vec<(Event, Vec<u8>)>> {
        let text = read_optional(&self.path.join(EVENTS))?.unwrap_or_default();
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| Some((serde_json::from_slice(line).ok()?, line.to_vec()))).collect())
    }

    /// Opens the log to append events after `step`, for the process that has the run's lock. Events of later steps are
    /// dropped, because a run that resumes from its checkpoint repeats those steps.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn log_from(&self, step: u64, _: &RunLock) -> Result<EventLog> {
        let kept = self.lines()?.into_iter().filter(|(event, _)| event.step() <= step).map(|(_, line)| line);
        write_atomically(&self.path.join(EVENTS), &kept.collect::<Vec<_>>().concat())?;
        Ok(EventLog { file: self.open_log()?, path: self.path.join(EVENTS) })
    }

    /// Appends events to the log, even while the run is training.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, events: &[Event]) -> Result<()> {
        // A killed process may have left a truncated line.
        let is_truncated =
            fs::read(self.path.join(EVENTS)).is_ok_and(|text| !text.is_empty() && !text.ends_with(b"\n"));
        let mut lines = if is_truncated { b"\n".to_vec() } else { Vec::new() };
        for event in events {
            serde_json::to_writer(&mut lines, event)?;
            lines.push(b'\n');
        }
        self.open_log()?.write_all(&lines).with_context(|| format!("cannot write the log of {}", self.path.display()))
    }

    fn open_log(&self) -> Result<File> {
        let path = self.path.join(EVENTS);
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The open event log of a run in training.
pub struct EventLog {
    file: File,
    path: PathBuf,
}

impl EventLog {
    /// Appends an event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.write_all(&line).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use slimclr_core::{augment::Normalisation, config::Config, dataset::DatasetSummary};

    use super::*;

    #[test]
    fn resuming_drops_later_events_and_truncated_lines() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = DatasetSummary::without_digests(Normalisation::CIFAR10, Vec::new(), [9, 1]);
        let (run, lock) = RunFolder::create(&folder.path().join("run"), &Config::mini(), &dataset).unwrap();
        let mut log = run.log_from(0, &lock).unwrap();
        for step in [1, 2, 3] {
            log.append(&Event::Stopped { step }).unwrap();
        }
        log.file.write_all(b"{\"event\":\"che").unwrap();
        assert_eq!(run.events().unwrap().len(), 3);
        drop(log);
        drop(run.log_from(2, &lock).unwrap());
        assert_eq!(run.events().unwrap(), [Event::Stopped { step: 1 }, Event::Stopped { step: 2 }]);
        fs::write(run.path.join(EVENTS), b"{\"event\":\"che").unwrap();
        run.append(&[Event::Stopped { step: 4 }]).unwrap();
        assert_eq!(run.events().unwrap(), [Event::Stopped { step: 4 }]);
    }
}
