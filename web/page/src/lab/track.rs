//! What the figures draw: the events of a run, wherever they come from.

use leptos::prelude::*;
use slimclr_report::Report;
use slimclr_run::{event::Evaluated, event::Event, event::Started, event::Step, interference::landscape::Landscape};

/// A run's events, and how many of them are shown; a handle to them.
#[derive(Clone, Copy)]
pub struct Track {
    /// The run's name.
    pub name: RwSignal<String>,
    /// All that has happened.
    pub events: RwSignal<Vec<Event>>,
    /// The loss around its weights, where it was computed.
    pub landscape: RwSignal<Option<Landscape>>,
    /// The step up to which it is shown; none for all.
    pub until: RwSignal<Option<u64>>,
}

impl Track {
    /// A run of which nothing is known yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: RwSignal::new(name.to_owned()),
            events: RwSignal::new(Vec::new()),
            landscape: RwSignal::new(None),
            until: RwSignal::new(None),
        }
    }

    /// Forgets what happened.
    pub fn clear(self) {
        self.events.set(Vec::new());
        self.landscape.set(None);
    }

    /// Looks at the events that are shown.
    pub fn with_shown<T>(self, look: impl FnOnce(&[Event]) -> T) -> T {
        let until = self.until.get();
        self.events.with(|events| look(&events[..shown(events, until)]))
    }

    /// What is shown of it, for the figures.
    pub fn report(self) -> Report {
        Report {
            name: self.name.get(),
            events: self.with_shown(<[Event]>::to_vec),
            landscape: self.landscape.get(),
            neighbours: Vec::new(),
        }
    }

    /// Where it stands.
    pub fn standing(self) -> Option<Standing> {
        self.with_shown(Standing::read)
    }
}

/// Events until one is of a later step.
fn shown(events: &[Event], until: Option<u64>) -> usize {
    let until = until.unwrap_or(u64::MAX);
    events.iter().position(|event| event.step() > until).unwrap_or(events.len())
}

/// Where a run stands, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Steps taken.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Epochs passed.
    pub epoch: f64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// The device, in words.
    pub device: String,
    /// Training images a second.
    pub speed: Option<f64>,
    /// The learning rate.
    pub rate: Option<f64>,
    /// Whether the sub-networks do not train yet.
    pub slow: bool,
    /// Each width, widest first.
    pub widths: Vec<AtWidth>,
}

/// Where a width stands.
#[derive(Debug, Clone, PartialEq)]
pub struct AtWidth {
    /// Which.
    pub width: f64,
    /// Its latest loss; none before it trains.
    pub loss: Option<f64>,
    /// The fraction that its nearest neighbours get right, at the latest evaluation.
    pub knn: Option<f64>,
    /// The same at the evaluation before training.
    pub knn_at_first: Option<f64>,
}

impl Standing {
    fn read(events: &[Event]) -> Option<Self> {
        let Started { config, device, images, step, steps, steps_per_epoch, .. } = Event::latest_start(events)?;
        let changed = events.iter().rev().find_map(|event| match event {
            Event::Changed { config, .. } => Some(&**config),
            Event::Started(started) => Some(&started.config),
            _ => None,
        });
        let schedule = changed.and_then(|config| config.schedule(*images).ok());
        let slow_until = schedule.map_or(0, |schedule| schedule.slow_start);
        let latest = events.iter().rev().find_map(|event| match event {
            Event::Step(step) => Some(step),
            _ => None,
        });
        let step = events.last().map_or(*step, Event::step);
        let loss = |at: usize| latest.and_then(|step: &Step| step.losses.get(at)).copied().filter(|loss| *loss != 0.0);
        let of_width = |width: f64| {
            let mut of_width = events.iter().filter_map(move |event| match event {
                Event::Evaluated(evaluated) if evaluated.width == width => Some(evaluated),
                _ => None,
            });
            let first = of_width.next();
            (first, of_width.next_back().or(first))
        };
        let at_width = |(at, width): (usize, &f64)| {
            let (first, last): (Option<&Evaluated>, _) = of_width(*width);
            let knn_at_first = first.filter(|first| first.step == 0).map(|first| first.knn);
            AtWidth { width: *width, loss: loss(at), knn: last.map(|last: &Evaluated| last.knn), knn_at_first }
        };
        Some(Self {
            step,
            steps: *steps,
            epoch: step as f64 / (*steps_per_epoch).max(1) as f64,
            steps_per_epoch: *steps_per_epoch,
            device: device.clone(),
            speed: latest.map(|step| step.images_per_second),
            rate: latest.map(|step| step.learning_rate),
            slow: step < slow_until && config.widths.len() > 1,
            widths: config.widths.iter().enumerate().map(at_width).collect(),
        })
    }
}
