//! What stands of a run's events, once resumptions are taken into account.

use std::collections::BTreeMap;

use slimclr_core::event::{Evaluated, Event, Interference, Started, Step};

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
    /// How the events end.
    pub end: End,
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
                self.resumed = if started.step == 0 { 0 } else { self.resumed + 1 };
                (self.started, self.taken, self.end) = (started, started.step, End::Open);
            }
            Event::Step(step) => self.steps.push(step),
            Event::Interference(norms) => self.interference.push(norms),
            Event::Evaluated(evaluated) => self.evaluated.push(evaluated),
            Event::Changed { .. } | Event::Checkpoint { .. } => {}
            Event::Stopped { .. } => self.end = End::Stopped,
            Event::Finished { seconds, .. } => self.end = End::Finished(*seconds),
        }
        self.taken = self.taken.max(event.step());
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

    /// The step after which sub-networks are trained, where there is such a time and the run reached it.
    pub fn slow_start_end(&self) -> Option<u64> {
        let step = self.started.slow_start_step;
        (step > 0 && step <= self.taken && self.widths().len() > 1).then_some(step)
    }
}
