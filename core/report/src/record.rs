//! What stands of a run's events, once resumptions are taken into account.

use std::collections::BTreeMap;

use slimclr_run::{config::Config, event::Evaluated, event::Event, event::Interference, event::Started, event::Step};

use crate::change;

/// A run as its events tell it.
#[derive(Debug)]
pub struct Record<'a> {
    /// The latest beginning.
    pub started: &'a Started,
    /// How often the run was resumed.
    pub resumed: u64,
    /// Steps taken.
    pub taken: u64,
    /// The steps that were reported.
    pub steps: Vec<&'a Step>,
    /// The gradient norms that were measured.
    pub interference: Vec<&'a Interference>,
    /// The evaluations.
    evaluated: Vec<&'a Evaluated>,
    /// The options in effect at the end of the events.
    pub config: &'a Config,
    /// Where the run went on with other options.
    pub changes: Vec<Change<'a>>,
    /// From which step on slow start was to end after which one; in order of the former.
    slow_starts: Vec<(u64, u64)>,
    /// How the events end.
    pub end: End,
}

/// A place in a run from which on it had other options.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// The last step with the former ones.
    pub step: u64,
    /// The former ones.
    before: &'a Config,
    /// What is different.
    pub words: Vec<String>,
}

/// How a run's events end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// The run reached its end, so many seconds after its latest beginning.
    Finished(f64),
    /// It was asked to stop.
    Stopped,
    /// It goes on, or was cut off.
    Open,
}

impl<'a> Record<'a> {
    /// Reads `events` in order; none if the run never started.
    pub fn read(events: &'a [Event]) -> Option<Self> {
        let start = events.iter().position(|event| matches!(event, Event::Started(_)))?;
        let mut record: Option<Self> = None;
        for event in &events[start..] {
            match (&mut record, event) {
                (None, Event::Started(started)) => record = Some(Self::begin(started)),
                (Some(record), event) => record.add(event),
                (None, _) => {}
            }
        }
        record
    }

    fn begin(started: &'a Started) -> Self {
        Self {
            started,
            resumed: u64::from(started.step > 0),
            taken: started.step,
            steps: Vec::new(),
            interference: Vec::new(),
            evaluated: Vec::new(),
            config: &started.config,
            changes: Vec::new(),
            slow_starts: vec![(0, started.slow_start_step)],
            end: End::Open,
        }
    }

    fn add(&mut self, event: &'a Event) {
        match event {
            Event::Started(started) => {
                // Whatever came after the checkpoint was lost with the run that was cut off.
                self.steps.retain(|step| step.step <= started.step);
                self.interference.retain(|norms| norms.step <= started.step);
                self.evaluated.retain(|evaluated| evaluated.step <= started.step);
                self.changes.retain(|change| change.step <= started.step);
                self.slow_starts.retain(|(from, _)| *from <= started.step);
                if started.step == 0 {
                    self.slow_starts.clear();
                }
                self.go_on(started.step, &started.config, started.slow_start_step);
                self.resumed = if started.step == 0 { 0 } else { self.resumed + 1 };
                (self.started, self.taken, self.end) = (started, started.step, End::Open);
            }
            Event::Step(step) => self.steps.push(step),
            Event::Interference(norms) => self.interference.push(norms),
            Event::Evaluated(evaluated) => self.evaluated.push(evaluated),
            Event::Changed { step, config } => {
                // Of several at one step, what is left in the end counts.
                let former = self.changes.pop_if(|change| change.step == *step);
                let before = former.map_or(self.config, |change| change.before);
                let words = change::in_words(before, config);
                if !words.is_empty() {
                    self.changes.push(Change { step: *step, before, words });
                }
                let schedule = config.schedule(self.started.images);
                let slow_start = schedule.map_or(self.started.slow_start_step, |schedule| schedule.slow_start);
                self.go_on(*step, config, slow_start);
            }
            Event::Checkpoint { .. } => {}
            Event::Stopped { .. } => self.end = End::Stopped,
            Event::Finished { seconds, .. } => self.end = End::Finished(*seconds),
        }
        self.taken = self.taken.max(event.step());
    }

    /// From `step` on the options are `config`'s.
    fn go_on(&mut self, step: u64, config: &'a Config, slow_start: u64) {
        self.config = config;
        if self.slow_starts.last().is_none_or(|(_, before)| *before != slow_start) {
            self.slow_starts.push((step, slow_start));
        }
    }

    /// The widths, widest first.
    pub fn widths(&self) -> &'a [f64] {
        &self.started.config.widths
    }

    /// A width's evaluations by step; of two at one step the later stands.
    pub fn evaluations(&self, width: f64) -> Vec<&'a Evaluated> {
        let of_width = self.evaluated.iter().filter(|evaluated| evaluated.width == width);
        of_width.map(|evaluated| (evaluated.step, *evaluated)).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// A width's evaluation before training.
    pub fn before(&self, width: f64) -> Option<&'a Evaluated> {
        self.evaluations(width).first().copied().filter(|evaluated| evaluated.step == 0)
    }

    /// A width's last evaluation after at least one step.
    pub fn after(&self, width: f64) -> Option<&'a Evaluated> {
        self.evaluations(width).last().copied().filter(|evaluated| evaluated.step > 0)
    }

    /// The step from which on gradients are training's own: at first they are the initialisation's, so much larger that
    /// principal components would show nothing else.
    pub fn settled(&self) -> u64 {
        self.started.steps / 20
    }

    /// The step after which sub-networks are trained, where there is such a time and the run reached it; none if a change
    /// of options is what began it.
    pub fn slow_start_end(&self) -> Option<u64> {
        let step = self.end_of_slow_start();
        let by_itself = self.slow_starts.iter().any(|(from, end)| step == *end && step > *from);
        (by_itself && step <= self.taken && self.widths().len() > 1).then_some(step)
    }

    /// The step after which sub-networks are trained for the first time, as far as can be known.
    pub fn end_of_slow_start(&self) -> u64 {
        let until = self.slow_starts.iter().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
        let ends = self.slow_starts.iter().zip(until).map(|((from, end), until)| (*end.max(from), until));
        ends.filter(|(end, until)| end < until).map(|(end, _)| end).next().unwrap_or_default()
    }

    /// Whether a step, counted from 1, trained the sub-networks.
    pub fn trained_all(&self, step: u64) -> bool {
        let in_effect = self.slow_starts.iter().rev().find(|(from, _)| *from < step);
        in_effect.is_some_and(|(_, end)| step > *end)
    }

    /// The steps after which training was another: means do not reach across them.
    pub fn turns(&self) -> Vec<u64> {
        let mut turns: Vec<u64> = self.changes.iter().map(|change| change.step).collect();
        turns.push(self.end_of_slow_start());
        turns.sort_unstable();
        turns.dedup();
        turns
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
            profile: Vec::new(),
        }))
    }

    fn slow_start(step: u64, slow_start: f64) -> Event {
        let config = Config { batch: 10, epochs: 10.0, slow_start, ..Config::mini() };
        Event::Changed { step, config: Box::new(config) }
    }

    /// When all widths were trained, of steps 1 to 100, and where slow start ended by itself.
    fn trained(events: &[Event]) -> (Vec<u64>, Option<u64>) {
        let mut events = events.to_vec();
        events.push(Event::Stopped { step: 100 });
        let record = Record::read(&events).unwrap();
        let changes = (2..=100).filter(|step| record.trained_all(*step) != record.trained_all(step - 1));
        (changes.collect(), record.slow_start_end())
    }

    #[test]
    fn slow_start_ends_by_itself_or_by_a_change() {
        assert_eq!(trained(&[started(0, 50)]), (vec![51], Some(50)));
        assert_eq!(trained(&[started(0, 0)]), (vec![], None));
        assert_eq!(trained(&[started(0, 50), slow_start(20, 0.0)]), (vec![21], None));
        assert_eq!(trained(&[started(0, 50), slow_start(20, 0.3)]), (vec![31], Some(30)));
        // Off and on again.
        assert_eq!(trained(&[started(0, 0), slow_start(20, 0.5), slow_start(60, 0.2)]), (vec![21, 51], None));
        // Resumed at 30, what was changed at 40 is lost.
        assert_eq!(trained(&[started(0, 50), slow_start(40, 0.0), started(30, 50)]), (vec![51], Some(50)));
        // Resumed with the options of the change.
        assert_eq!(trained(&[started(0, 50), slow_start(20, 0.0), started(30, 0)]), (vec![21], None));
    }
}
