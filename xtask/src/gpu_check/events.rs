//! The result of a run of `slimclr`: its `events.jsonl`, and how it ended.

use serde::Deserialize;

use super::process::{End, last_message};
use crate::median::median;

/// The result of a run.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// It took all its steps.
    Ran(Log),
    /// The program or the machine has no such device; with the program's message.
    Absent(String),
    /// It failed, for this reason.
    Failed(String),
}

/// The events of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// The name of the device.
    pub adapter: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A training step, with the fields of the program's event that are used here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Step {
    /// Steps taken, including this one.
    pub step: u64,
    /// Sum of `losses`.
    pub loss: f64,
    /// Each width's loss, widest first.
    pub losses: Vec<f64>,
    /// Training images per second since the previous event.
    pub images_per_second: f64,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Started {
        device: String,
    },
    Step(Step),
    #[serde(other)]
    Other,
}

/// The exit code of the program if it refuses its options, such as a device that it does not find.
const REFUSED: i32 = 2;

impl Outcome {
    /// Returns the result of a program that was to take `steps`, from how it ended, what it printed, and the lines of
    /// its `events.jsonl`.
    ///
    /// A device is absent only if the program refused it before the run started: if the run starts and then crashes, or
    /// computes NaN, the device is present and broken.
    pub fn new(end: End, output: &str, lines: &str, steps: u64) -> Self {
        let message = last_message(output).unwrap_or("it printed nothing");
        match (end, Log::read(lines)) {
            (_, Err(error)) => Self::Failed(error),
            (End::Code(REFUSED), Ok(None)) => Self::Absent(message.into()),
            (End::Done | End::Code(0), Ok(Some(log))) if log.has_steps(steps) => Self::Ran(log.first(steps)),
            (end, Ok(log)) => {
                let taken = log.map_or(0, |log| log.steps.len());
                Self::Failed(format!("slimclr {end}, after {taken} steps: {message}"))
            }
        }
    }
}

impl Log {
    /// Reads the lines of an `events.jsonl`. Returns `None` if the run had not started.
    ///
    /// # Errors
    /// If a line is not an event.
    pub fn read(lines: &str) -> Result<Option<Self>, String> {
        let (mut started, mut steps) = (None, Vec::new());
        // A program that was killed may leave an incomplete line.
        let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
        for (number, line) in (1..).zip(whole.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let event = serde_json::from_str(line)
                .map_err(|error| format!("line {number} of events.jsonl is not an event: {error}"))?;
            match event {
                Event::Started { device } => started = Some(device),
                Event::Step(step) => steps.push(step),
                Event::Other => {}
            }
        }
        Ok(started.map(|adapter| Self { adapter, steps }))
    }

    /// Returns whether there are at least this many steps.
    pub fn has_steps(&self, steps: u64) -> bool {
        self.steps.len() as u64 >= steps
    }

    /// Keeps the first `steps`: a run may take more before it is stopped.
    fn first(mut self, steps: u64) -> Self {
        self.steps.truncate(steps as usize);
        self
    }
}

/// Returns the median of the images per second after a warm-up. Unlike the mean, it ignores a step that waits for the
/// disk, and a first event that includes steps of the warm-up.
pub fn median_rate(steps: &[Step], warmup: u64) -> Option<f64> {
    median(steps.iter().skip_while(|step| step.step <= warmup).map(|step| step.images_per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: &str = "{\"event\":\"started\",\"device\":\"NVIDIA\",\"images\":3050,\"config\":{\"seed\":0}}\n";
    const STEP: &str = "{\"event\":\"step\",\"step\":1,\"epoch\":0.0,\"loss\":3.0,\"losses\":[2.0,1.0],\
                        \"learning_rate\":0.06,\"images_per_second\":80.5}\n";

    #[test]
    fn other_events_are_ignored() {
        let lines = format!("{STARTED}{{\"event\":\"evaluated\",\"knn\":0.2}}\n{STEP}");
        let step = Step { step: 1, loss: 3.0, losses: vec![2.0, 1.0], images_per_second: 80.5 };
        let log = Log { adapter: "NVIDIA".into(), steps: vec![step] };
        assert_eq!(Outcome::new(End::Code(0), "", &lines, 1), Outcome::Ran(log.clone()));
        // More steps, and an incomplete line.
        let lines = format!("{lines}{STEP}{{\"event\":\"st");
        assert_eq!(Outcome::new(End::Done, "", &lines, 1), Outcome::Ran(log));
    }

    #[test]
    fn only_a_refusal_before_the_start_means_absent() {
        let absent = Outcome::new(End::Code(2), "error: no Vulkan device\n", "", 1);
        assert_eq!(absent, Outcome::Absent("no Vulkan device".into()));
        let is_failure = |end, lines: &str| matches!(Outcome::new(end, "", lines, 1), Outcome::Failed(_));
        assert!(is_failure(End::Code(2), STARTED));
        assert!(is_failure(End::Code(101), ""));
        assert!(is_failure(End::Signal(11), ""));
        assert!(is_failure(End::Code(0), ""));
        // It succeeded, but after too few steps.
        assert!(is_failure(End::Code(0), STARTED));
    }

    #[test]
    fn a_loss_of_nan_fails_with_its_line() {
        let lines = format!("{STARTED}{}", STEP.replace("3.0", "null"));
        let Outcome::Failed(why) = Outcome::new(End::Code(0), "", &lines, 1) else { panic!("it did not fail") };
        assert!(why.contains("line 2"), "{why}");
    }

    #[test]
    fn a_crash_is_reported_with_the_steps_before_it() {
        let lines = format!("{STARTED}{STEP}{STEP}{{\"event\":\"st");
        let Outcome::Failed(why) = Outcome::new(End::Signal(9), "", &lines, 5) else { panic!("it did not fail") };
        assert!(why.contains("signal 9, after 2 steps"), "{why}");
    }

    #[test]
    fn the_median_ignores_the_warm_up() {
        let steps: Vec<Step> = [1.0, 2.0, 40.0, 20.0, 30.0, 10.0]
            .iter()
            .zip(1..)
            .map(|(&rate, step)| Step { step, loss: 0.0, losses: vec![], images_per_second: rate })
            .collect();
        assert_eq!(median_rate(&steps, 2), Some(25.0));
        assert_eq!(median_rate(&steps, 3), Some(20.0));
        assert_eq!(median_rate(&steps, 6), None);
    }
}
