//! An experiment's results so far, read from its arms' runs, as Markdown tables and as JSON.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use slimclr_core::{
    config::Config,
    event::{Evaluated, Event},
};
use slimclr_report::{count, duration};

use super::arm::Arm;
use crate::{
    command::evaluate::Probes,
    run_folder::{RunFolder, write_atomically},
    terminal,
};

/// File name of the tables.
pub const TABLE: &str = "results.md";
const DATA: &str = "results.json";

/// What the arms share, and the result of each.
#[derive(Serialize)]
pub struct Results {
    /// Name and version of this program.
    pub program: &'static str,
    /// The command line that resumes the experiment.
    pub command: String,
    /// Name of the full network's architecture.
    pub network: String,
    /// Number of training images.
    pub training_images: usize,
    /// Number of test images.
    pub test_images: usize,
    /// Options that the arms share.
    pub options: Config,
    /// The arms that have started, in the order of the table.
    pub arms: Vec<ArmResult>,
}

/// The result of one arm so far.
#[derive(Serialize)]
pub struct ArmResult {
    /// The arm.
    pub arm: Arm,
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
    /// Reads the result of `arm` from its run's folder.
    ///
    /// # Errors
    /// If its events cannot be read.
    pub fn read(arm: Arm, folder: &RunFolder) -> Result<Self> {
        Ok(Self::new(arm, &folder.events()?))
    }

    /// Computes the result of `arm` from its run's events.
    pub fn new(arm: Arm, events: &[Event]) -> Self {
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
        let batch = started.map_or(0, |started| started.config.batch);
        let seconds = events.iter().filter_map(|event| match event {
            Event::Step(step) => Some(batch as f64 / step.images_per_second),
            _ => None,
        });
        Self {
            arm,
            state: if is_done { State::Done } else { State::Begun { step, steps } },
            device: started.map(|started| started.device.clone()),
            training_seconds: seconds.sum(),
            untrained: events.iter().filter_map(before).collect(),
            evaluated,
        }
    }

    /// Returns the evaluation of a slimmable network before training, which is the same in all such arms.
    fn untrained_at(&self, width: f64) -> Option<&Evaluated> {
        let is_slimmable = !matches!(self.arm, Arm::Alone(_));
        self.untrained.iter().find(|evaluated| is_slimmable && evaluated.width == width)
    }

    /// Marks the arm as failed.
    pub fn failed(self, message: &str) -> Self {
        Self { state: State::Failed { message: message.to_owned() }, ..self }
    }

    /// Formats a measure at one width of its network.
    fn cell(&self, width: f64, measure: &Measure) -> String {
        let evaluated = self.evaluated.iter().find(|evaluated| evaluated.width == width);
        match (evaluated.map(measure.cell), &self.state) {
            (Some(Some(cell)), _) => cell,
            // Either the arm or the probe failed.
            (None, State::Failed { .. }) | (Some(None), _) => "failed".to_owned(),
            (None, State::Done | State::Begun { .. }) => "–".to_owned(),
        }
    }
}

/// Returns whether the run of these events has taken all its steps.
pub fn is_trained(events: &[Event]) -> bool {
    // Resuming from an earlier checkpoint drops later events, `finished` among them.
    events.iter().any(|event| matches!(event, Event::Finished { .. }))
}

/// A measure of accuracy, with a table for each.
struct Measure {
    title: &'static str,
    cell: fn(&Evaluated) -> Option<String>,
    /// Whether untrained networks are measured as well.
    of_untrained: bool,
}

/// The paper's measure comes first.
const MEASURES: [Measure; 3] = [
    Measure { title: "Linear probe (switchable), top-1 in %", cell: |it| it.probe.map(percent), of_untrained: false },
    Measure {
        title: "kNN, top-1 in %, ± standard error",
        cell: |it| it.knn_with_error().map(|[knn, error]| format!("{} ± {}", percent(knn), percent(error))),
        of_untrained: true,
    },
    Measure { title: "Ridge regression, top-1 in %", cell: |it| it.ridge.map(percent), of_untrained: false },
];

fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}

impl Results {
    /// Writes the tables and the JSON file into an experiment's folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_atomically(&folder.join(TABLE), self.markdown().as_bytes())?;
        write_atomically(&folder.join(DATA), &serde_json::to_vec_pretty(self)?)
    }

    /// Formats the table of the first measure for the terminal.
    pub fn table(&self) -> String {
        let [main, ..] = &MEASURES;
        format!("{}\n{}", main.title, terminal::aligned(&self.heads(), &self.rows(main)))
    }

    fn heads(&self) -> Vec<String> {
        let widths = self.options.widths.iter().map(|width| format!("width {width}"));
        ["arm".to_owned()].into_iter().chain(widths).collect()
    }

    /// Formats one row per title; the networks of a single width share one.
    fn rows(&self, measure: &Measure) -> Vec<Vec<String>> {
        let groups = self.arms.chunk_by(|a, b| a.arm.title() == b.arm.title());
        let row = |title: &str, cell: &dyn Fn(f64) -> Option<String>| -> Vec<String> {
            let cells = self.options.widths.iter().map(|width| cell(*width).unwrap_or_else(|| "–".to_owned()));
            [title.to_owned()].into_iter().chain(cells).collect()
        };
        let untrained = |width| self.arms.iter().find_map(|it| it.untrained_at(width)).and_then(measure.cell);
        let first = measure.of_untrained.then(|| row("untrained", &untrained));
        let arms = groups.map(|arms| {
            let cell = |width| arms.iter().find_map(|it| Some(it.cell(it.arm.network_width(width)?, measure)));
            row(arms[0].arm.title(), &cell)
        });
        first.into_iter().chain(arms).collect()
    }

    fn markdown(&self) -> String {
        let options = &self.options;
        let tables: Vec<String> = MEASURES
            .iter()
            .map(|measure| format!("{}:\n\n{}", measure.title, markdown_table(&self.heads(), &self.rows(measure))))
            .collect();
        let runs: Vec<Vec<String>> = self.arms.iter().map(|arm| self.run_row(arm)).collect();
        let runs = markdown_table(&["run", "state", "training", "device"], &runs);
        // The binomial standard error is largest at an accuracy of one half.
        let error = 100.0 * (0.25 / self.test_images as f64).sqrt();
        format!(
            "# Single-width, slimmable and supervised networks on CIFAR-10\n\n{}\n\
             Each cell is one network. With {} test images, the standard error of a cell is at most {error:.1} \
             (binomial), and that of a difference of two cells {:.1}. So differences below {:.1} are within noise. \
             Each arm was trained once, with seed {}; the variance between seeds is not included.\n\n\
             | | |\n|---|---|\n\
             | command | `{}` |\n\
             | program | {} |\n\
             | network | {}, widths {} |\n\
             | images | {} training, {} test |\n\
             | schedule | {} epochs, batch {} |\n\n\
             Time of the training steps, without evaluations:\n\n{runs}",
            tables.join("\n"),
            count(self.test_images as u64),
            2f64.sqrt() * error,
            2.0 * 2f64.sqrt() * error,
            options.seed,
            self.command.replace('|', "\\|"),
            self.program,
            self.network,
            options.widths.iter().map(f64::to_string).collect::<Vec<_>>().join(", "),
            count(self.training_images as u64),
            count(self.test_images as u64),
            options.epochs,
            options.batch,
        )
    }

    fn run_row(&self, arm: &ArmResult) -> Vec<String> {
        let state = match &arm.state {
            State::Done => "done".to_owned(),
            State::Begun { steps: 0, .. } => "started".to_owned(),
            State::Begun { step, steps } if step == steps => "not evaluated yet".to_owned(),
            State::Begun { step, steps } => format!("{} of {} steps", count(*step), count(*steps)),
            State::Failed { message } => format!("failed: {}", message.replace('|', "\\|").replace('\n', " ")),
        };
        let device = arm.device.clone().unwrap_or_default();
        vec![arm.arm.to_string(), state, duration(arm.training_seconds), device]
    }
}

/// Formats a Markdown table with the first column left-aligned and the others right-aligned.
fn markdown_table(heads: &[impl AsRef<str>], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|---|{}\n", "---:|".repeat(heads.len() - 1));
    let rows: String = rows.iter().map(|row| line(row.iter().map(String::as_str).collect())).collect();
    line(heads.iter().map(AsRef::as_ref).collect()) + &rule + &rows
}

#[cfg(test)]
mod tests {
    use slimclr_core::event::{Started, Step};

    use super::*;

    fn started(widths: &[f64]) -> Event {
        Event::Started(Box::new(Started {
            config: Config { widths: widths.to_vec(), batch: 64, ..Config::mini() },
            device: "CPU".into(),
            images: 5000,
            normalisation: None,
            step: 0,
            steps: 2,
            steps_per_epoch: 1,
            slow_start_step: 0,
            profile: Vec::new(),
        }))
    }

    fn step(step: u64) -> Event {
        let (loss, losses) = (1.0, vec![1.0]);
        Event::Step(Step { step, epoch: 0.0, loss, losses, learning_rate: 0.1, images_per_second: 32.0, waited: None })
    }

    fn probed(width: f64, probe: Option<f64>) -> Event {
        let Probes { linear, lambda } = Probes::default();
        let (knn, knn_standard_error, ridge) = (Some(0.5), Some(0.005), Some(0.25));
        Event::Evaluated(Evaluated {
            step: 2,
            width,
            knn,
            knn_standard_error,
            probe,
            probe_recipe: Some(linear),
            ridge,
            ridge_lambda: Some(lambda),
            ..Default::default()
        })
    }

    const FINISHED: Event = Event::Finished { step: 2, seconds: 9.0 };

    fn results(arms: Vec<ArmResult>) -> Results {
        Results {
            program: "slimclr 1",
            command: "slimclr experiment cifar10".into(),
            network: "cifar-resnet8".into(),
            training_images: 5000,
            test_images: 10_000,
            options: Config { widths: vec![1.0, 0.5], ..Config::mini() },
            arms,
        }
    }

    #[test]
    fn an_arm_is_done_when_every_width_is_probed_after_the_last_step() {
        let events = [started(&[1.0, 0.5]), step(1), step(2), FINISHED, probed(1.0, Some(0.6)), probed(0.5, None)];
        let state = |count| ArmResult::new(Arm::Naive, &events[..count]).state;
        assert_eq!(state(0), State::Begun { step: 0, steps: 0 });
        assert_eq!(state(2), State::Begun { step: 1, steps: 2 });
        assert_eq!(state(5), State::Begun { step: 2, steps: 2 });
        assert_eq!(state(6), State::Done);
        let with_other_lambda = |event: &Event| match event {
            Event::Evaluated(it) => Event::Evaluated(Evaluated { ridge_lambda: Some(1.0), ..it.clone() }),
            other => other.clone(),
        };
        let other_probes: Vec<Event> = events.iter().map(with_other_lambda).collect();
        assert_eq!(ArmResult::new(Arm::Naive, &other_probes).state, State::Begun { step: 2, steps: 2 });
        assert_eq!(ArmResult::new(Arm::Naive, &events).training_seconds, 4.0);
        assert!(!is_trained(&events[..3]) && is_trained(&events));
    }

    #[test]
    fn single_width_networks_share_a_row_and_missing_cells_are_marked() {
        let alone = |width, probe| {
            ArmResult::new(Arm::Alone(width), &[started(&[1.0]), step(1), step(2), FINISHED, probed(1.0, probe)])
        };
        let table = results(vec![
            alone(1.0, Some(0.612)),
            alone(0.5, Some(0.5)),
            ArmResult::new(Arm::Naive, &[started(&[1.0, 0.5]), step(1)]),
            ArmResult::new(Arm::Slimclr, &[started(&[1.0, 0.5])]).failed("the loss | is NaN"),
            ArmResult::new(
                Arm::Supervised,
                &[started(&[1.0, 0.5]), step(2), FINISHED, probed(1.0, Some(0.7)), probed(0.5, None)],
            ),
        ])
        .markdown();
        for line in [
            "| arm | width 1 | width 0.5 |",
            "| each width alone | 61.2 | 50.0 |",
            "| slimmable, naive | – | – |",
            "| SlimCLR: all three | failed | failed |",
            "| slimmable, supervised | 70.0 | failed |",
            "| each width alone | 50.0 ± 0.5 | 50.0 ± 0.5 |",
            "| each width alone | 25.0 | 25.0 |",
            "| naive | 1 of 2 steps | 2.0 s | CPU |",
            "| slimclr | failed: the loss \\| is NaN | 0.0 s | CPU |",
            "| images | 5,000 training, 10,000 test |",
        ] {
            assert!(table.lines().any(|found| found == line), "'{line}' is not in:\n{table}");
        }
        assert!(table.contains("the standard error of a cell is at most 0.5"), "{table}");
        assert!(table.contains("differences below 1.4 are within noise"), "{table}");
    }

    #[test]
    fn the_json_holds_the_evaluations() {
        let events = [started(&[1.0]), step(1), step(2), FINISHED, probed(1.0, Some(0.6))];
        let json = serde_json::to_value(results(vec![ArmResult::new(Arm::Alone(0.5), &events)])).unwrap();
        let arm = &json["arms"][0];
        assert_eq!((&arm["arm"], &arm["state"]), (&"alone-0.5".into(), &"done".into()));
        assert_eq!(arm["evaluated"][0]["probe"], 0.6);
    }
}
