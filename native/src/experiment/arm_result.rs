//! The result of an arm so far, from the events of its run.

use anyhow::Result;
use serde::Serialize;
use slimclr_core::event::{Evaluated, Event, LossMonitor};
use slimclr_report::{count, duration};

use super::{
    gradients::{Gradients, WeightPath},
    tables,
};
use crate::{command::evaluate::Probes, run_folder::RunFolder, table::last_losses};

/// The result of one arm so far.
#[derive(Serialize)]
pub struct ArmResult {
    /// The arm's name.
    pub arm: String,
    /// Its progress.
    #[serde(flatten)]
    pub state: State,
    /// The device that it was last trained on.
    pub device: Option<String>,
    /// Seconds of all its training steps, without evaluations.
    pub training_seconds: f64,
    /// The evaluation of each width of its network before training.
    pub untrained: Vec<Evaluated>,
    /// The latest evaluation with the default probes, of each width of its network.
    pub evaluated: Vec<Evaluated>,
    /// What the loss of each width of its network consisted of in the last 100 steps.
    pub losses: Vec<WidthLoss>,
    /// The gradients of its widths, if interference was measured.
    pub gradients: Option<Gradients>,
    /// The paths of the weights, if a loss landscape was computed.
    pub paths: Vec<WeightPath>,
}

/// What a width's loss consists of.
#[derive(Debug, Serialize)]
pub struct WidthLoss {
    /// The width.
    pub width: f64,
    /// Means over some steps.
    #[serde(flatten)]
    pub mean: LossMonitor,
}

/// The progress of an arm.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Trained and evaluated.
    Done,
    /// Training or evaluation is incomplete.
    Begun {
        /// Steps taken.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// Training or evaluation failed.
    Failed {
        /// The error.
        message: String,
    },
}

impl ArmResult {
    /// Reads the result of an arm from its run's folder.
    ///
    /// # Errors
    /// If its events or its landscape cannot be read.
    pub fn read(arm: &str, folder: &RunFolder) -> Result<Self> {
        let paths = folder.landscape()?.as_ref().map(WeightPath::of_widths).unwrap_or_default();
        Ok(Self { paths, ..Self::new(arm, &folder.events()?) })
    }

    /// Computes the result of an arm from its run's events.
    pub fn new(arm: &str, events: &[Event]) -> Self {
        let started = Event::latest_start(events);
        let widths = started.map(|started| started.config.widths.as_slice()).unwrap_or_default();
        let steps = started.map_or(0, |started| started.steps);
        let step = events.iter().map(Event::step).max().unwrap_or(0);
        let default_probes = Probes::default();
        let probed = |width: &f64| {
            let evaluated = events.iter().rev().filter_map(|event| match event {
                // The user may have evaluated the arm with other probes as well.
                Event::Evaluated(evaluated) if default_probes.match_those_of(evaluated) => Some(evaluated),
                _ => None,
            });
            evaluated.into_iter().find(|it| it.width == *width && it.step == steps).cloned()
        };
        let evaluated: Vec<Evaluated> = widths.iter().filter_map(probed).collect();
        let before = |event: &Event| match event {
            Event::Evaluated(evaluated) if evaluated.step == 0 => Some(evaluated.clone()),
            _ => None,
        };
        let is_done = is_trained(events) && evaluated.len() == widths.len();
        let (losses, _) = last_losses(widths.len(), events);
        Self {
            arm: arm.into(),
            state: if is_done { State::Done } else { State::Begun { step, steps } },
            device: started.map(|started| started.device.clone()),
            training_seconds: training_seconds(events),
            untrained: events.iter().filter_map(before).collect(),
            evaluated,
            losses: widths.iter().zip(losses).map(|(width, mean)| WidthLoss { width: *width, mean }).collect(),
            gradients: Gradients::of(events),
            paths: Vec::new(),
        }
    }

    /// Marks the arm as failed.
    pub fn failed(self, message: &str) -> Self {
        Self { state: State::Failed { message: message.to_owned() }, ..self }
    }

    /// Returns the evaluation of a width of its network.
    pub fn evaluated_at(&self, width: f64) -> Option<&Evaluated> {
        self.evaluated.iter().find(|evaluated| evaluated.width == width)
    }

    /// Returns what the loss of a width of its network consisted of in the last steps.
    pub fn loss_at(&self, width: f64) -> Option<&LossMonitor> {
        self.losses.iter().find(|loss| loss.width == width).map(|loss| &loss.mean)
    }

    /// Returns whether a width of its network is better than before training, if that is known.
    pub fn has_learned(&self, width: f64) -> Option<bool> {
        let untrained = self.untrained.iter().find(|evaluated| evaluated.width == width)?;
        self.evaluated_at(width)?.has_learned(untrained)
    }

    /// Formats its progress as a row of the table that [`markdown`] makes.
    fn row(&self) -> Vec<String> {
        let state = match &self.state {
            State::Done => "done".to_owned(),
            State::Begun { steps: 0, .. } => "started".to_owned(),
            State::Begun { step, steps } if step == steps => "not evaluated yet".to_owned(),
            State::Begun { step, steps } => format!("{} of {} steps", count(*step), count(*steps)),
            State::Failed { message } => format!("failed: {}", message.replace('|', "\\|").replace('\n', " ")),
        };
        vec![self.arm.clone(), state, duration(self.training_seconds), self.device.clone().unwrap_or_default()]
    }
}

/// Formats the progress of `arms` as a Markdown table under a sentence.
pub fn markdown<'a>(arms: impl IntoIterator<Item = &'a ArmResult>) -> String {
    let rows: Vec<Vec<String>> = arms.into_iter().map(ArmResult::row).collect();
    let table = tables::markdown(&["run", "state", "training", "device"], &rows);
    format!("Time of the training steps, without evaluations:\n\n{table}")
}

/// Returns whether the run of these events has taken all its steps.
pub fn is_trained(events: &[Event]) -> bool {
    // Resuming from an earlier checkpoint drops later events, `finished` among them.
    events.iter().any(|event| matches!(event, Event::Finished { .. }))
}

/// Returns the seconds of a run's training steps, without evaluations.
pub fn training_seconds(events: &[Event]) -> f64 {
    let batch = Event::latest_start(events).map_or(0, |started| started.config.batch);
    let seconds = events.iter().filter_map(|event| match event {
        Event::Step(step) => Some(batch as f64 / step.images_per_second),
        _ => None,
    });
    seconds.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::fixture::{FINISHED, probed, started, step};

    #[test]
    fn an_arm_is_done_when_every_width_is_probed_after_the_last_step() {
        let events = [started(&[1.0, 0.5]), step(1), step(2), FINISHED, probed(1.0, Some(0.6)), probed(0.5, None)];
        let state = |count| ArmResult::new("naive", &events[..count]).state;
        assert_eq!(state(0), State::Begun { step: 0, steps: 0 });
        assert_eq!(state(2), State::Begun { step: 1, steps: 2 });
        assert_eq!(state(5), State::Begun { step: 2, steps: 2 });
        assert_eq!(state(6), State::Done);
        let with_other_lambda = |event: &Event| match event {
            Event::Evaluated(it) => Event::Evaluated(Evaluated { ridge_lambda: Some(1.0), ..it.clone() }),
            other => other.clone(),
        };
        let other_probes: Vec<Event> = events.iter().map(with_other_lambda).collect();
        assert_eq!(ArmResult::new("naive", &other_probes).state, State::Begun { step: 2, steps: 2 });
        assert_eq!(ArmResult::new("naive", &events).training_seconds, 4.0);
        assert!(!is_trained(&events[..3]) && is_trained(&events));
    }

    #[test]
    fn the_table_of_runs_shows_how_far_each_is() {
        let of = |arm: &str, count: usize| {
            let events = [started(&[1.0]), step(1), step(2), FINISHED, probed(1.0, Some(0.6))];
            ArmResult::new(arm, &events[..count])
        };
        let table = markdown(&[of("a", 1), of("b", 2), of("c", 4), of("d", 5), of("e", 0).failed("the loss | is NaN")]);
        for line in [
            "| run | state | training | device |",
            "| a | 0 of 2 steps | 0.0 s | CPU |",
            "| b | 1 of 2 steps | 2.0 s | CPU |",
            "| c | not evaluated yet | 4.0 s | CPU |",
            "| d | done | 4.0 s | CPU |",
            "| e | failed: the loss \\| is NaN | 0.0 s |  |",
        ] {
            assert!(table.lines().any(|found| found == line), "'{line}' is not in:\n{table}");
        }
    }
}
