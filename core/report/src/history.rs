//! The history of a run, from its events. What a resumption discarded is left out.

use slimclr_run::{
    config::Config,
    event::{Collapse, Evaluated, Event, Interference, NoAccuracy, Started, Step},
    interference::path::end_of_transient,
};

use crate::config_diff::differences;

/// What a run did.
#[derive(Debug)]
pub struct RunHistory<'a> {
    /// The latest start or resumption.
    pub started: &'a Started,
    /// How many times the run was resumed.
    pub resumed: u64,
    /// The number of steps taken.
    pub steps_taken: u64,
    /// The reported steps.
    pub steps: Vec<&'a Step>,
    /// The measurements of interference.
    pub interference: Vec<&'a Interference>,
    evaluated: Vec<&'a Evaluated>,
    /// The options at the end of the events.
    pub config: &'a Config,
    /// The changes of options.
    pub changes: Vec<Change<'a>>,
    /// The sign of collapse, if there was one, and its step.
    pub collapse: Option<(u64, &'a Collapse)>,
    /// Ends of slow start as configured over time: the step of the configuration, and the last step of slow start that
    /// it sets; ascending in the former.
    slow_starts: Vec<(u64, u64)>,
    /// How the events end.
    pub end: End,
    /// The steps that had been taken when the events begin.
    first_step: u64,
}

/// A change of options during a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// The last step with the earlier options.
    pub step: u64,
    /// The earlier options.
    before: &'a Config,
    /// What differs, as text.
    pub differences: Vec<String>,
}

/// How a run's events end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// The run finished this many seconds after its latest start or resumption.
    Finished(f64),
    /// It was stopped.
    Stopped,
    /// It still runs, or was interrupted.
    Unfinished,
}

impl<'a> RunHistory<'a> {
    /// Returns the history of a run with these events, which are in order; `None` if there is no `started` event.
    pub fn from_events(events: &'a [Event]) -> Option<Self> {
        let start = events.iter().position(|event| matches!(event, Event::Started(_)))?;
        let mut history: Option<Self> = None;
        for event in &events[start..] {
            match (&mut history, event) {
                (None, Event::Started(started)) => history = Some(Self::begin(started)),
                (Some(history), event) => history.add(event),
                (None, _) => {}
            }
        }
        history
    }

    fn begin(started: &'a Started) -> Self {
        Self {
            started,
            resumed: u64::from(started.step > 0),
            steps_taken: started.step,
            steps: Vec::new(),
            interference: Vec::new(),
            evaluated: Vec::new(),
            config: &started.config,
            changes: Vec::new(),
            collapse: None,
            slow_starts: vec![(0, started.slow_start_step)],
            end: End::Unfinished,
            first_step: started.step,
        }
    }

    fn add(&mut self, event: &'a Event) {
        match event {
            Event::Started(started) => {
                // What came after the checkpoint was lost when the run was interrupted.
                self.steps.retain(|step| step.step <= started.step);
                self.interference.retain(|norms| norms.step <= started.step);
                self.evaluated.retain(|evaluated| evaluated.step <= started.step);
                self.changes.retain(|change| change.step <= started.step);
                self.collapse = self.collapse.filter(|(step, _)| *step <= started.step);
                self.slow_starts.retain(|(from, _)| *from <= started.step);
                if started.step == 0 {
                    self.slow_starts.clear();
                    self.first_step = 0;
                }
                self.use_options(started.step, &started.config, started.slow_start_step);
                self.resumed = if started.step == 0 { 0 } else { self.resumed + 1 };
                (self.started, self.steps_taken, self.end) = (started, started.step, End::Unfinished);
            }
            Event::Step(step) => self.steps.push(step),
            Event::Interference(norms) => self.interference.push(norms),
            Event::Evaluated(evaluated) => self.evaluated.push(evaluated),
            Event::Changed { step, config } => {
                // Several changes at one step count as one.
                let earlier = self.changes.pop_if(|change| change.step == *step);
                let before = earlier.map_or(self.config, |change| change.before);
                let differences = differences(before, config);
                if !differences.is_empty() {
                    self.changes.push(Change { step: *step, before, differences });
                }
                let schedule = config.schedule(self.started.images);
                let slow_start = schedule.map_or(self.started.slow_start_step, |schedule| schedule.slow_start_step);
                self.use_options(*step, config, slow_start);
            }
            Event::Collapsed { step, sign } => self.collapse = self.collapse.or(Some((*step, sign))),
            Event::Checkpoint { .. } | Event::Evaluating(_) => {}
            Event::Stopped { .. } => self.end = End::Stopped,
            Event::Finished { seconds, .. } => self.end = End::Finished(*seconds),
        }
        self.steps_taken = self.steps_taken.max(event.step());
    }

    /// Sets the options that apply after `step`.
    fn use_options(&mut self, step: u64, config: &'a Config, slow_start: u64) {
        self.config = config;
        if self.slow_starts.last().is_none_or(|(_, before)| *before != slow_start) {
            self.slow_starts.push((step, slow_start));
        }
    }

    /// Returns the widths, widest first.
    pub fn widths(&self) -> &'a [f64] {
        &self.started.config.widths
    }

    /// Returns a width's evaluations by step; if there are two at one step, the later one.
    pub fn evaluations(&self, width: f64) -> Vec<&'a Evaluated> {
        let of_width = self.evaluated.iter().filter(|evaluated| evaluated.width == width);
        let mut by_step: Vec<&Evaluated> = Vec::new();
        for evaluated in of_width {
            let at = by_step.partition_point(|earlier| earlier.step < evaluated.step);
            match by_step.get_mut(at).filter(|same| same.step == evaluated.step) {
                Some(same) => *same = evaluated,
                None => by_step.insert(at, evaluated),
            }
        }
        by_step
    }

    /// Returns a width's evaluation before training.
    pub fn before(&self, width: f64) -> Option<&'a Evaluated> {
        self.evaluations(width).first().copied().filter(|evaluated| evaluated.step == 0)
    }

    /// Returns a width's last evaluation after at least one step.
    pub fn after(&self, width: f64) -> Option<&'a Evaluated> {
        self.evaluations(width).last().copied().filter(|evaluated| evaluated.step > 0)
    }

    /// Returns why there are no accuracies: the latest evaluation's reason, unless an accuracy was measured.
    pub fn no_accuracy(&self) -> Option<NoAccuracy> {
        let latest = self.evaluated.last()?;
        latest.no_accuracy.filter(|_| self.evaluated.iter().all(|evaluated| evaluated.knn.is_none()))
    }

    /// Returns the step after which the large gradients of the initialisation have faded.
    pub fn end_of_transient(&self) -> u64 {
        end_of_transient(self.started.steps)
    }

    /// Returns the last step of slow start, if the run reached it. Returns `None` if there is no slow start, or if a
    /// change of options ended it.
    pub fn slow_start_end(&self) -> Option<u64> {
        let step = self.end_of_slow_start();
        let is_regular = self.slow_starts.iter().any(|(from, end)| step == *end && step > *from);
        (is_regular && step <= self.steps_taken && self.widths().len() > 1).then_some(step)
    }

    /// Returns the step after which the queue had been filled with keys for the first time, if the run took it.
    pub fn queue_filled(&self) -> Option<u64> {
        let step = self.started.queue_filled_step?;
        (self.first_step < step && step <= self.steps_taken).then_some(step)
    }

    /// Returns the step after which sub-networks are trained for the first time, according to the options so far.
    pub fn end_of_slow_start(&self) -> u64 {
        let until = self.slow_starts.iter().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
        let ends = self.slow_starts.iter().zip(until).map(|((from, end), until)| (*end.max(from), until));
        ends.filter(|(end, until)| end < until).map(|(end, _)| end).next().unwrap_or_default()
    }

    /// Returns whether a step, counted from 1, trained the sub-networks.
    pub fn trained_all(&self, step: u64) -> bool {
        let in_effect = self.slow_starts.iter().rev().find(|(from, _)| *from < step);
        in_effect.is_some_and(|(_, end)| step > *end)
    }

    /// Returns the steps after which training changed, ascending; values are not averaged across them.
    pub fn phase_boundaries(&self) -> Vec<u64> {
        let mut steps: Vec<u64> = self.changes.iter().map(|change| change.step).collect();
        steps.push(self.end_of_slow_start());
        steps.sort_unstable();
        steps.dedup();
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(step: u64, slow_start_step: u64) -> Event {
        let config = Config { batch: 10, epochs: 10.0, ..Config::mini() };
        Event::Started(Box::new(Started {
            config,
            device: String::new(),
            images: 100,
            normalisation: None,
            step,
            steps: 100,
            steps_per_epoch: 10,
            slow_start_step,
            queue_filled_step: None,
            ranks: 1,
            profile: Vec::new(),
        }))
    }

    fn slow_start(step: u64, slow_start: f64) -> Event {
        let config = Config { batch: 10, epochs: 10.0, slow_start, ..Config::mini() };
        Event::Changed { step, config: Box::new(config) }
    }

    /// Returns the steps up to 100 at which the training of all widths begins or ends, and the regular end of slow
    /// start.
    fn trained(events: &[Event]) -> (Vec<u64>, Option<u64>) {
        let mut events = events.to_vec();
        events.push(Event::Stopped { step: 100 });
        let history = RunHistory::from_events(&events).unwrap();
        let changes = (2..=100).filter(|step| history.trained_all(*step) != history.trained_all(step - 1));
        (changes.collect(), history.slow_start_end())
    }

    #[test]
    fn slow_start_ends_regularly_or_by_a_change() {
        assert_eq!(trained(&[started(0, 50)]), (vec![51], Some(50)));
        assert_eq!(trained(&[started(0, 0)]), (vec![], None));
        assert_eq!(trained(&[started(0, 50), slow_start(20, 0.0)]), (vec![21], None));
        assert_eq!(trained(&[started(0, 50), slow_start(20, 0.3)]), (vec![31], Some(30)));
        // Slow start ends, and begins again.
        assert_eq!(trained(&[started(0, 0), slow_start(20, 0.5), slow_start(60, 0.2)]), (vec![21, 51], None));
        // Resumed at 30: the change at 40 is lost.
        assert_eq!(trained(&[started(0, 50), slow_start(40, 0.0), started(30, 50)]), (vec![51], Some(50)));
        // Resumed with the changed options.
        assert_eq!(trained(&[started(0, 50), slow_start(20, 0.0), started(30, 0)]), (vec![21], None));
    }
}
