//! What an experiment has found so far, read from its arms' runs: as a table for people and as JSON for programs.

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

/// The file of the table.
pub const TABLE: &str = "results.md";
const DATA: &str = "results.json";

/// What all arms have in common, and what each has come to.
#[derive(Serialize)]
pub struct Results {
    /// Name and version of this program.
    pub program: &'static str,
    /// The command line that goes on with the experiment.
    pub command: String,
    /// What the network of full width is called.
    pub network: String,
    /// Images that are trained on.
    pub training_images: usize,
    /// Images that are evaluated on.
    pub test_images: usize,
    /// Options that all arms have in common, but for those that make an arm.
    pub options: Config,
    /// In the order of the table; without those that have not begun.
    pub arms: Vec<Standing>,
}

/// What stands of one arm.
#[derive(Serialize)]
pub struct Standing {
    /// Which.
    pub arm: Arm,
    /// How far it is.
    #[serde(flatten)]
    pub state: State,
    /// Where it was trained last.
    pub device: Option<String>,
    /// Seconds that its steps took, evaluations left out, over all resumptions.
    pub training_seconds: f64,
    /// The evaluation of each width of its network before training.
    pub untrained: Vec<Evaluated>,
    /// The latest evaluation with the usual probes, of each width of its network.
    pub evaluated: Vec<Evaluated>,
}

/// How far an arm is.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Trained and evaluated.
    Done,
    /// Training or evaluation is left.
    Begun {
        /// Steps taken.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// It cannot go on.
    Failed {
        /// Why.
        message: String,
    },
}

impl Standing {
    /// That of `arm`, whose run is in `folder`.
    ///
    /// # Errors
    /// If its events cannot be read.
    pub fn read(arm: Arm, folder: &RunFolder) -> Result<Self> {
        Ok(Self::of(arm, &folder.events()?))
    }

    /// That of `arm`, whose run has reported `events`.
    pub fn of(arm: Arm, events: &[Event]) -> Self {
        let started = Event::latest_start(events);
        let widths = started.map(|started| started.config.widths.as_slice()).unwrap_or_default();
        let steps = started.map_or(0, |started| started.steps);
        let step = events.iter().map(Event::step).max().unwrap_or(0);
        let usual = Probes::default();
        let probed = |width: &f64| {
            let evaluated = events.iter().rev().filter_map(|event| match event {
                // By hand, an arm may have been evaluated otherwise.
                Event::Evaluated(evaluated) if usual.measured(evaluated) => Some(evaluated),
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

    /// What a slimmable network was at this width before training: the same in all arms.
    fn untrained_at(&self, width: f64) -> Option<&Evaluated> {
        let is_slimmable = !matches!(self.arm, Arm::Alone(_));
        self.untrained.iter().find(|evaluated| is_slimmable && evaluated.width == width)
    }

    /// The same, but it cannot go on.
    pub fn failed(self, message: &str) -> Self {
        Self { state: State::Failed { message: message.to_owned() }, ..self }
    }

    /// What `measure` found of one width of its network.
    fn cell(&self, own_width: f64, measure: &Measure) -> String {
        let evaluated = self.evaluated.iter().find(|evaluated| evaluated.width == own_width);
        match (evaluated.map(measure.cell), &self.state) {
            (Some(Some(cell)), _) => cell,
            // The arm, or the probe.
            (None, State::Failed { .. }) | (Some(None), _) => "failed".to_owned(),
            (None, State::Done | State::Begun { .. }) => "–".to_owned(),
        }
    }
}

/// Whether a run of these events has taken all its steps.
pub fn is_trained(events: &[Event]) -> bool {
    // A run that goes on from an earlier checkpoint drops the events after it.
    events.iter().any(|event| matches!(event, Event::Finished { .. }))
}

/// A measure of the table.
struct Measure {
    title: &'static str,
    cell: fn(&Evaluated) -> Option<String>,
    /// Whether untrained networks are measured, too.
    of_untrained: bool,
}

/// The paper's first.
const MEASURES: [Measure; 3] = [
    Measure { title: "Linear probe (switchable), top-1 in %", cell: |it| it.probe.map(percent), of_untrained: false },
    Measure {
        title: "kNN, top-1 in %, ± its standard error",
        cell: |it| Some(format!("{} ± {}", percent(it.knn), percent(it.knn_standard_error))),
        of_untrained: true,
    },
    Measure { title: "Ridge regression, top-1 in %", cell: |it| it.ridge.map(percent), of_untrained: false },
];

fn percent(fraction: f64) -> String {
    format!("{:.1}", 100.0 * fraction)
}

impl Results {
    /// Writes them into an experiment's folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_atomically(&folder.join(TABLE), self.markdown().as_bytes())?;
        write_atomically(&folder.join(DATA), &serde_json::to_vec_pretty(self)?)
    }

    /// The main table, for the terminal.
    pub fn table(&self) -> String {
        let [main, ..] = &MEASURES;
        format!("{}\n{}", main.title, terminal::aligned(&self.heads(), &self.rows(main)))
    }

    fn heads(&self) -> Vec<String> {
        let widths = self.options.widths.iter().map(|width| format!("width {width}"));
        ["arm".to_owned()].into_iter().chain(widths).collect()
    }

    /// A line for each title: the networks that are alone share one.
    fn rows(&self, measure: &Measure) -> Vec<Vec<String>> {
        let lines = self.arms.chunk_by(|a, b| a.arm.title() == b.arm.title());
        let row = |title: &str, cell: &dyn Fn(f64) -> Option<String>| -> Vec<String> {
            let cells = self.options.widths.iter().map(|width| cell(*width).unwrap_or_else(|| "–".to_owned()));
            [title.to_owned()].into_iter().chain(cells).collect()
        };
        let untrained = |width| self.arms.iter().find_map(|it| it.untrained_at(width)).and_then(measure.cell);
        let first = measure.of_untrained.then(|| row("untrained", &untrained));
        let arms = lines.map(|standings| {
            let of_width = |width| standings.iter().find_map(|it| Some(it.cell(it.arm.own_width(width)?, measure)));
            row(standings[0].arm.title(), &of_width)
        });
        first.into_iter().chain(arms).collect()
    }

    fn markdown(&self) -> String {
        let options = &self.options;
        let tables: Vec<String> = MEASURES
            .iter()
            .map(|measure| format!("{}:\n\n{}", measure.title, markdown_table(&self.heads(), &self.rows(measure))))
            .collect();
        let runs: Vec<Vec<String>> = self.arms.iter().map(|standing| self.run_row(standing)).collect();
        let runs = markdown_table(&["run", "state", "training", "on"], &runs);
        // Half of the images right is where the binomial distribution is widest.
        let error = 100.0 * (0.25 / self.test_images as f64).sqrt();
        format!(
            "# Each width alone, a slimmable network, and what helps it, on CIFAR-10\n\n{}\n\
             A cell is one network. Over {} test images its standard error is {error:.1} at most (binomial), that of \
             a difference of two cells {:.1}: differences below {:.1} are within noise. Every arm was trained once, \
             with seed {}; how far seeds differ comes on top.\n\n\
             | | |\n|---|---|\n\
             | command | `{}` |\n\
             | program | {} |\n\
             | network | {}, widths {} |\n\
             | images | {} to train on, {} to test |\n\
             | course | {} epochs, batch {} |\n\n\
             Time of the training steps; evaluations come on top:\n\n{runs}",
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

    fn run_row(&self, standing: &Standing) -> Vec<String> {
        let state = match &standing.state {
            State::Done => "done".to_owned(),
            State::Begun { steps: 0, .. } => "begun".to_owned(),
            State::Begun { step, steps } if step == steps => "to be evaluated".to_owned(),
            State::Begun { step, steps } => format!("{} of {} steps", count(*step), count(*steps)),
            State::Failed { message } => format!("failed: {}", message.replace('|', "\\|").replace('\n', " ")),
        };
        let device = standing.device.clone().unwrap_or_default();
        vec![standing.arm.to_string(), state, duration(standing.training_seconds), device]
    }
}

/// The first column flush left, the others right.
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
            device: "an abacus".into(),
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
        Event::Step(Step { step, epoch: 0.0, loss, losses, learning_rate: 0.1, images_per_second: 32.0 })
    }

    fn probed(width: f64, probe: Option<f64>) -> Event {
        let Probes { linear, lambda } = Probes::default();
        let (knn, knn_standard_error, ridge) = (0.5, 0.005, Some(0.25));
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

    fn results(arms: Vec<Standing>) -> Results {
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
    fn an_arm_is_done_when_every_width_is_probed_after_its_last_step() {
        let events = [started(&[1.0, 0.5]), step(1), step(2), FINISHED, probed(1.0, Some(0.6)), probed(0.5, None)];
        let state = |count| Standing::of(Arm::Naive, &events[..count]).state;
        assert_eq!(state(0), State::Begun { step: 0, steps: 0 });
        assert_eq!(state(2), State::Begun { step: 1, steps: 2 });
        assert_eq!(state(5), State::Begun { step: 2, steps: 2 });
        assert_eq!(state(6), State::Done);
        let otherwise = |evaluated: &Event| match evaluated {
            Event::Evaluated(usual) => Event::Evaluated(Evaluated { ridge_lambda: Some(1.0), ..usual.clone() }),
            other => other.clone(),
        };
        let by_hand: Vec<Event> = events.iter().map(otherwise).collect();
        assert_eq!(Standing::of(Arm::Naive, &by_hand).state, State::Begun { step: 2, steps: 2 });
        assert_eq!(Standing::of(Arm::Naive, &events).training_seconds, 4.0);
        assert!(!is_trained(&events[..3]) && is_trained(&events));
    }

    #[test]
    fn networks_alone_share_a_line_and_what_is_missing_is_said() {
        let alone = |width, probe| {
            Standing::of(Arm::Alone(width), &[started(&[1.0]), step(1), step(2), FINISHED, probed(1.0, probe)])
        };
        let table = results(vec![
            alone(1.0, Some(0.612)),
            alone(0.5, Some(0.5)),
            Standing::of(Arm::Naive, &[started(&[1.0, 0.5]), step(1)]),
            Standing::of(Arm::Slimclr, &[started(&[1.0, 0.5])]).failed("the loss | is NaN"),
            Standing::of(
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
            "| naive | 1 of 2 steps | 2.0 s | an abacus |",
            "| slimclr | failed: the loss \\| is NaN | 0.0 s | an abacus |",
            "| images | 5,000 to train on, 10,000 to test |",
        ] {
            assert!(table.lines().any(|found| found == line), "'{line}' is not in:\n{table}");
        }
        assert!(table.contains("its standard error is 0.5 at most"), "{table}");
        assert!(table.contains("differences below 1.4 are within noise"), "{table}");
    }

    #[test]
    fn programs_read_the_same() {
        let events = [started(&[1.0]), step(1), step(2), FINISHED, probed(1.0, Some(0.6))];
        let standing = Standing::of(Arm::Alone(0.5), &events);
        let json = serde_json::to_value(results(vec![standing])).unwrap();
        let arm = &json["arms"][0];
        assert_eq!((&arm["arm"], &arm["state"]), (&"alone-0.5".into(), &"done".into()));
        assert_eq!(arm["evaluated"][0]["probe"], 0.6);
    }
}
