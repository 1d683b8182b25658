//! What a run of `slimclr` left: its `events.jsonl`, and how it ended.

use serde::Deserialize;

use super::process::{End, last_words};
use crate::median::median;

/// What became of a run.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// It took the steps wanted of it.
    Ran(Log),
    /// The program or the machine has no such device; in the program's words.
    Absent(String),
    /// It broke off.
    Failed(String),
}

/// What a run logged.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// The device in use, in words.
    pub adapter: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A training step; the fields of the program's event that matter here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Step {
    /// Steps taken, this one included.
    pub step: u64,
    /// Sum of `losses`.
    pub loss: f64,
    /// Each width's loss, widest first.
    pub losses: Vec<f64>,
    /// Training images per second since the event before.
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

/// The exit code with which the program refuses what it is asked, such as a device that it does not find.
const REFUSED: i32 = 2;

impl Outcome {
    /// From how the program ended, what it printed, the lines of its `events.jsonl`, and how many steps it
    /// was to take.
    ///
    /// A device is absent only where the program refused before its run had started: one that starts and
    /// then crashes, or computes something that is no number, is there and is broken.
    pub fn new(end: End, words: &str, lines: &str, steps: u64) -> Self {
        let said = last_words(words).unwrap_or("it printed nothing");
        match (end, Log::read(lines)) {
            (_, Err(error)) => Self::Failed(error),
            (End::Code(REFUSED), Ok(None)) => Self::Absent(said.into()),
            (End::Done | End::Code(0), Ok(Some(log))) if log.has_steps(steps) => Self::Ran(log.first(steps)),
            (end, Ok(log)) => {
                let taken = log.map_or(0, |log| log.steps.len());
                Self::Failed(format!("slimclr {end}, after {taken} steps: {said}"))
            }
        }
    }
}

impl Log {
    /// Reads the lines of an `events.jsonl`; nothing if the run did not get as far as its start.
    ///
    /// # Errors
    /// If a line is no event.
    pub fn read(lines: &str) -> Result<Option<Self>, String> {
        let (mut started, mut steps) = (None, Vec::new());
        // A program that was killed may leave half a line.
        let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
        for (number, line) in (1..).zip(whole.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let event = serde_json::from_str(line)
                .map_err(|error| format!("line {number} of events.jsonl cannot be read: {error}"))?;
            match event {
                Event::Started { device } => started = Some(device),
                Event::Step(step) => steps.push(step),
                Event::Other => {}
            }
        }
        Ok(started.map(|adapter| Self { adapter, steps }))
    }

    /// Whether at least this many steps are there.
    pub fn has_steps(&self, steps: u64) -> bool {
        self.steps.len() as u64 >= steps
    }

    /// The first `steps`: a run that is ended from outside takes some more.
    fn first(mut self, steps: u64) -> Self {
        self.steps.truncate(steps as usize);
        self
    }
}

/// Median of the images per second after a warm-up. Unlike the mean, it minds neither a step that waits for
/// the disk nor a first event that still speaks of some steps of the warm-up.
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
    fn a_run_is_read_and_events_unknown_here_are_passed_over() {
        let lines = format!("{STARTED}{{\"event\":\"evaluated\",\"knn\":0.2}}\n{STEP}");
        let step = Step { step: 1, loss: 3.0, losses: vec![2.0, 1.0], images_per_second: 80.5 };
        let log = Log { adapter: "NVIDIA".into(), steps: vec![step] };
        assert_eq!(Outcome::new(End::Code(0), "", &lines, 1), Outcome::Ran(log.clone()));
        // Steps beyond those wanted, the last of them cut short.
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
        // Ended too soon, though of its own will.
        assert!(is_failure(End::Code(0), STARTED));
    }

    #[test]
    fn a_loss_that_is_no_number_fails_with_its_line() {
        let lines = format!("{STARTED}{}", STEP.replace("3.0", "null"));
        let Outcome::Failed(why) = Outcome::new(End::Code(0), "", &lines, 1) else { panic!("not a failure") };
        assert!(why.contains("line 2"), "{why}");
    }

    #[test]
    fn a_crash_is_told_with_the_steps_before_it() {
        let lines = format!("{STARTED}{STEP}{STEP}{{\"event\":\"st");
        let Outcome::Failed(why) = Outcome::new(End::Signal(9), "", &lines, 5) else { panic!("not a failure") };
        assert!(why.contains("signal 9, after 2 steps"), "{why}");
    }

    #[test]
    fn the_median_leaves_the_warm_up_out() {
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
