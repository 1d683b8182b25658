//! Progress of a run in training.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use slimclr_core::{
    config::Config,
    event::{Evaluated, Evaluating, Event, LossMonitor, Started, Step},
};

use crate::{
    table,
    terminal::{Progress, note, parts, time_left, warn},
};

/// Share of the time spent waiting for images from which on it is shown.
const WAITS: f64 = 0.1;
/// Steps that are too few to tell whether a run waits for images.
const FEW: u64 = 10;
/// Weight of the past, for each step, in what is averaged.
const PAST: f64 = 0.95;

/// Shows a run's events on standard error: a progress bar on a terminal, plain lines elsewhere.
pub struct RunProgress {
    /// `None` before the first event and after the last.
    progress: Option<Progress>,
    widths: Vec<f64>,
    /// Images per step.
    batch: usize,
    /// Latest losses, as text.
    losses: String,
    /// Chance level, as text; empty if that means nothing.
    chance: String,
    /// Steps seen since the run started or resumed. The first one is left out of the averages: it is slow.
    steps: u64,
    seconds_per_step: Average,
    waited: Average,
    /// When the evaluation that is under way began.
    evaluating_since: Option<Instant>,
    has_warned_of_waiting: bool,
}

impl RunProgress {
    /// Shows nothing before the first event.
    pub fn new() -> Self {
        Self {
            progress: None,
            widths: Vec::new(),
            batch: 0,
            losses: String::new(),
            chance: String::new(),
            steps: 0,
            seconds_per_step: Average::default(),
            waited: Average::default(),
            evaluating_since: None,
            has_warned_of_waiting: false,
        }
    }

    /// Shows an event, and warns if the run has collapsed, or once if it waits for images.
    pub fn draw(&mut self, event: &Event) {
        match event {
            Event::Started(started) => self.start(started),
            Event::Step(step) => self.step(step),
            Event::Evaluating(evaluating) => self.evaluating(*evaluating),
            Event::Evaluated(evaluated) => self.evaluated(evaluated),
            Event::Collapsed { sign, .. } => warn(&sign.to_string()),
            Event::Checkpoint { .. } => self.note_if_plain("  checkpoint saved"),
            Event::Stopped { .. } | Event::Finished { .. } => self.progress = None,
            Event::Interference(_) | Event::Changed { .. } => {}
        }
    }

    fn start(&mut self, started: &Started) {
        let Started { config, device, images, step, steps, .. } = started;
        (self.widths, self.batch) = (config.widths.clone(), config.batch);
        self.chance = chance(config);
        let widths: Vec<String> = config.widths.iter().map(f64::to_string).collect();
        note(&format!("{images} images, {steps} steps, widths {}, on {device}", widths.join(", ")));
        let progress = Progress::show(Some(*steps), "{bar:24} {pos}/{len} steps{prefix}  {msg}", "first step", line);
        progress.bar().set_position(*step);
        self.progress = Some(progress);
    }

    fn step(&mut self, step: &Step) {
        let Some(progress) = &self.progress else { return };
        let bar = progress.bar();
        self.losses = format!("{}  {:.0} images/s", losses(step, &self.widths), step.images_per_second);
        self.steps += 1;
        if self.steps == 1 {
            note(&format!("step {}  {}", step.step, self.losses));
            if step.monitors.iter().any(|monitor| monitor.cross_entropy.is_some()) {
                note(&self.chance);
            }
        } else {
            self.seconds_per_step.add(self.batch as f64 / step.images_per_second);
            self.waited.add(step.waited.unwrap_or(0.0));
            let left = bar.length().unwrap_or(0).saturating_sub(step.step) as f64 * self.seconds_per_step.value();
            bar.set_prefix(time_left(Duration::try_from_secs_f64(left).unwrap_or_default()));
        }
        let waited = self.waited.value();
        if self.steps > FEW && waited > WAITS {
            self.losses += &format!("  waiting for images {:.0}% of the time", 100.0 * waited);
            if !self.has_warned_of_waiting {
                self.has_warned_of_waiting = true;
                warn(
                    "the run waits for images: reading and decoding them takes longer than training on them. Smaller \
                     images on disk, a faster disk or more CPU cores help",
                );
            }
        }
        // In the first step, the untrained network is evaluated next.
        if step.step > 1 {
            bar.set_position(step.step);
        }
        bar.set_message(self.losses.clone());
    }

    fn evaluating(&mut self, Evaluating { step, images, of }: Evaluating) {
        let Some(progress) = &self.progress else { return };
        let begins = self.evaluating_since.is_none();
        let since = *self.evaluating_since.get_or_insert_with(Instant::now);
        let network = if step == 0 { "the initial network" } else { "the network" };
        let message = if images == of {
            format!("evaluating {network}: comparing the features of {of} images")
        } else {
            let left = since.elapsed().mul_f64(of.saturating_sub(images) as f64 / images.max(1) as f64);
            format!("evaluating {network}: {}{}", parts(images as u64, of as u64, "images"), time_left(left))
        };
        progress.bar().set_message(message);
        if begins {
            self.note_if_plain("");
        }
    }

    fn evaluated(&mut self, evaluated: &Evaluated) {
        self.evaluating_since = None;
        if let Some(progress) = &self.progress {
            progress.bar().set_message(self.losses.clone());
        }
        note(&table::line(evaluated));
    }

    /// Writes a line about the run's state, and what has just happened, where there is no bar.
    fn note_if_plain(&self, happened: &str) {
        if let Some(progress) = self.progress.as_ref().filter(|progress| progress.is_plain()) {
            note(&format!("{}{happened}", line(progress.bar())));
        }
    }
}

/// Formats each width's loss in a unit that is the same for all: what it has without weights, as far as the method
/// reports it.
fn losses(step: &Step, widths: &[f64]) -> String {
    type Quantity = fn(&LossMonitor) -> Option<f32>;
    const KINDS: [(&str, Quantity); 3] =
        [("loss", |it| it.cross_entropy), ("divergence", |it| it.teacher_divergence), ("cosine", |it| it.cosine)];
    let reported = KINDS.iter().find(|(_, value)| step.monitors.iter().any(|monitor| value(monitor).is_some()));
    let of_widths: Vec<String> = match reported {
        Some((_, value)) => {
            let of_width = |(monitor, width): (&LossMonitor, &f64)| {
                let first = monitor.top1.map(|first| format!(" {:.0}%", 100.0 * first)).unwrap_or_default();
                Some(format!("{width}: {:.3}{first}", value(monitor)?))
            };
            step.monitors.iter().zip(widths).filter_map(of_width).collect()
        }
        None => {
            let trained = step.losses.iter().zip(widths).filter(|(loss, _)| **loss != 0.0);
            trained.map(|(loss, width)| format!("{width}: {loss:.3}")).collect()
        }
    };
    format!("{} {}", reported.map_or("loss", |(name, _)| name), of_widths.join(", "))
}

/// Says what the numbers of [`losses`] are, and what they are at chance level.
fn chance(config: &Config) -> String {
    let Some(candidates) = config.candidates() else { return String::new() };
    let what = match config.method.has_classes() {
        true => "cross-entropy in nats, and how often the class has the highest score",
        false => "contrastive loss in nats, and how often the positive is most similar",
    };
    let loss = (candidates as f64).ln();
    let top1 = 100.0 / candidates as f64;
    format!("  {what}; chance level, 1 of {candidates}: {loss:.3} and {top1:.2}%")
}

/// Formats a line about a run's state.
fn line(bar: &ProgressBar) -> String {
    let (step, steps) = (bar.position(), bar.length().unwrap_or(0));
    format!("step {step} of {steps}{}  {}", bar.prefix(), bar.message())
}

/// A moving average.
#[derive(Debug, Default)]
struct Average(Option<f64>);

impl Average {
    fn add(&mut self, value: f64) {
        self.0 = Some(self.0.map_or(value, |past| PAST * past + (1.0 - PAST) * value));
    }

    fn value(&self) -> f64 {
        self.0.unwrap_or(0.0)
    }
}
