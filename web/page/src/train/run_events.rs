//! The events of a run, live or recorded, as the figures draw them.

use leptos::prelude::*;
use slimclr_report::Report;
use slimclr_run::{
    event::{Evaluated, Event, NoAccuracy, Started, Step, ViewMeasures},
    interference::landscape::Landscape,
};

use super::pair_pictures::PairPictures;

/// A handle to a run's events, all or up to a step.
#[derive(Clone, Copy)]
pub struct RunEvents {
    /// The run's name.
    pub name: RwSignal<String>,
    /// All events.
    pub list: RwSignal<Vec<Event>>,
    /// Views of images of some batches, by step: of a run in progress only the latest.
    pub pairs: RwSignal<Vec<PairPictures>>,
    /// The loss landscape, if it was computed.
    pub landscape: RwSignal<Option<Landscape>>,
    /// The last step that is shown; `None` for all.
    pub until: RwSignal<Option<u64>>,
}

impl RunEvents {
    /// Creates a run without events.
    pub fn new(name: &str) -> Self {
        Self {
            name: RwSignal::new(name.to_owned()),
            list: RwSignal::new(Vec::new()),
            pairs: RwSignal::new(Vec::new()),
            landscape: RwSignal::new(None),
            until: RwSignal::new(None),
        }
    }

    /// Removes events, pictures and landscape.
    pub fn clear(self) {
        self.list.set(Vec::new());
        self.pairs.set(Vec::new());
        self.landscape.set(None);
    }

    /// Calls `read` with the events that are shown.
    pub fn with_shown<T>(self, read: impl FnOnce(&[Event]) -> T) -> T {
        let until = self.until.get();
        self.list.with(|events| read(&events[..count_until(events, until)]))
    }

    /// Returns what is shown of the run, for the figures.
    pub fn report(self) -> Report {
        Report {
            name: self.name.get(),
            events: self.with_shown(<[Event]>::to_vec),
            landscape: self.landscape.get(),
            neighbours: Vec::new(),
        }
    }

    /// Returns the status at the last step that is shown; `None` before the run has started.
    pub fn status(self) -> Option<Status> {
        self.with_shown(Status::read)
    }
}

/// Returns the number of events up to a step.
fn count_until(events: &[Event], until: Option<u64>) -> usize {
    let until = until.unwrap_or(u64::MAX);
    events.iter().position(|event| event.step() > until).unwrap_or(events.len())
}

/// The status of a run at a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Steps taken.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// The fractional epoch.
    pub epoch: f64,
    /// Steps per epoch.
    pub steps_per_epoch: u64,
    /// The device, for the user.
    pub device: String,
    /// Training images per second.
    pub images_per_second: Option<f64>,
    /// The learning rate.
    pub learning_rate: Option<f64>,
    /// Whether slow start still excludes the sub-networks.
    pub is_slow_start: bool,
    /// Why there are no accuracies, if there are none.
    pub no_accuracy: Option<NoAccuracy>,
    /// The widths, widest first.
    pub widths: Vec<WidthStatus>,
}

/// The status of one width.
#[derive(Debug, Clone, PartialEq)]
pub struct WidthStatus {
    /// The width.
    pub width: f64,
    /// The latest loss without its weight or, if the method does not report it, with it; `None` before the width trains.
    pub loss: Option<f64>,
    /// The fraction of the latest views whose positive, or class, was first.
    pub first: Option<f32>,
    /// The latest kNN accuracy, from 0 to 1.
    pub knn: Option<f64>,
    /// The kNN accuracy before training.
    pub knn_untrained: Option<f64>,
    /// The latest effective rank of the features.
    pub rankme: Option<f64>,
    /// The latest measures of augmented views.
    pub views: Option<ViewMeasures>,
}

impl Status {
    fn read(events: &[Event]) -> Option<Self> {
        let Started { config, device, images, step, steps, steps_per_epoch, .. } = Event::latest_start(events)?;
        let changed = events.iter().rev().find_map(|event| match event {
            Event::Changed { config, .. } => Some(&**config),
            Event::Started(started) => Some(&started.config),
            _ => None,
        });
        let schedule = changed.and_then(|config| config.schedule(*images).ok());
        let slow_until = schedule.map_or(0, |schedule| schedule.slow_start_step);
        let latest = events.iter().rev().find_map(|event| match event {
            Event::Step(step) => Some(step),
            _ => None,
        });
        let step = events.last().map_or(*step, Event::step);
        let weighted =
            |at: usize| latest.and_then(|step: &Step| step.losses.get(at)).copied().filter(|loss| *loss != 0.0);
        let monitor = |at: usize| latest.and_then(|step| step.monitors.get(at)).copied().unwrap_or_default();
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
            WidthStatus {
                width: *width,
                loss: monitor(at).cross_entropy.map(f64::from).or_else(|| weighted(at)),
                first: monitor(at).top1,
                knn: last.and_then(|last: &Evaluated| last.knn),
                knn_untrained: first.filter(|first| first.step == 0).and_then(|first| first.knn),
                rankme: last.and_then(|last| last.rankme),
                views: last.and_then(|last| last.views),
            }
        };
        let no_accuracy = events.iter().rev().find_map(|event| match event {
            Event::Evaluated(evaluated) => Some(evaluated.no_accuracy),
            _ => None,
        });
        Some(Self {
            step,
            steps: *steps,
            epoch: step as f64 / (*steps_per_epoch).max(1) as f64,
            steps_per_epoch: *steps_per_epoch,
            device: device.clone(),
            images_per_second: latest.map(|step| step.images_per_second),
            learning_rate: latest.map(|step| step.learning_rate),
            is_slow_start: step < slow_until && config.widths.len() > 1,
            no_accuracy: no_accuracy.flatten(),
            widths: config.widths.iter().enumerate().map(at_width).collect(),
        })
    }
}
