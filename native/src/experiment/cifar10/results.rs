//! The results of the comparison so far, as Markdown tables and as JSON.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use slimclr_core::event::Evaluated;

use super::Variant;
use crate::{
    experiment::{
        Experiment,
        arm_result::{self, ArmResult, State},
        setting::Setting,
        tables::{self, percent},
    },
    terminal,
};

/// What the arms share, and the result of each.
#[derive(Serialize)]
pub struct Results {
    #[serde(flatten)]
    setting: Setting,
    /// The arms that have started, in the order of the table.
    arms: Vec<VariantResult>,
}

/// The result of one variant so far.
#[derive(Serialize)]
struct VariantResult {
    #[serde(skip)]
    variant: Variant,
    #[serde(flatten)]
    arm: ArmResult,
}

impl VariantResult {
    /// Returns the evaluation of a slimmable network before training, which is the same in all such arms.
    fn untrained_at(&self, width: f64) -> Option<&Evaluated> {
        let is_slimmable = !matches!(self.variant, Variant::Alone(_));
        self.arm.untrained.iter().find(|evaluated| is_slimmable && evaluated.width == width)
    }

    /// Formats a measure at one width of its network.
    fn cell(&self, width: f64, measure: &Measure) -> String {
        match (self.arm.evaluated_at(width).map(measure.cell), &self.arm.state) {
            (Some(Some(cell)), _) => cell,
            // Either the arm or the probe failed.
            (None, State::Failed { .. }) | (Some(None), _) => "failed".to_owned(),
            (None, State::Done | State::Begun { .. }) => "–".to_owned(),
        }
    }
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

impl Results {
    /// Reads the results so far, including those of earlier commands.
    ///
    /// # Errors
    /// If a run's events cannot be read.
    pub fn of(experiment: &Experiment) -> Result<Self> {
        let setting = experiment.setting()?;
        let read = |variant: Variant| {
            let arm = experiment.result(&variant.to_string()).transpose()?;
            Some(arm.map(|arm| VariantResult { variant, arm }))
        };
        let arms = Variant::all(&setting.options.widths).into_iter().filter_map(read).collect::<Result<_>>()?;
        Ok(Self { setting, arms })
    }

    /// Writes the tables and the JSON file into an experiment's folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        tables::write(folder, &self.markdown(), self)
    }

    /// Formats the table of the first measure for the terminal.
    pub fn table(&self) -> String {
        let [main, ..] = &MEASURES;
        format!("{}\n{}", main.title, terminal::aligned(&self.heads(), &self.rows(main)))
    }

    fn heads(&self) -> Vec<String> {
        let widths = self.setting.options.widths.iter().map(|width| format!("width {width}"));
        ["arm".to_owned()].into_iter().chain(widths).collect()
    }

    /// Formats one row per title; the networks of a single width share one.
    fn rows(&self, measure: &Measure) -> Vec<Vec<String>> {
        let groups = self.arms.chunk_by(|a, b| a.variant.title() == b.variant.title());
        let row = |title: &str, cell: &dyn Fn(f64) -> Option<String>| -> Vec<String> {
            let cells = self.setting.options.widths.iter().map(|width| cell(*width).unwrap_or_else(|| "–".to_owned()));
            [title.to_owned()].into_iter().chain(cells).collect()
        };
        let untrained = |width| self.arms.iter().find_map(|it| it.untrained_at(width)).and_then(measure.cell);
        let first = measure.of_untrained.then(|| row("untrained", &untrained));
        let arms = groups.map(|arms| {
            let cell = |width| arms.iter().find_map(|it| Some(it.cell(it.variant.network_width(width)?, measure)));
            row(arms[0].variant.title(), &cell)
        });
        first.into_iter().chain(arms).collect()
    }

    fn markdown(&self) -> String {
        let table = |measure: &Measure| {
            format!("{}:\n\n{}", measure.title, tables::markdown(&self.heads(), &self.rows(measure)))
        };
        let all: Vec<String> = MEASURES.iter().map(table).collect();
        let error = self.setting.standard_error();
        format!(
            "# Single-width, slimmable and supervised networks on CIFAR-10\n\n{}\n\
             Each cell is one network. {} So differences below {:.1} are within noise. \
             Each arm was trained once, with seed {}; the variance between seeds is not included.\n\n\
             {}\n\
             {}",
            all.join("\n"),
            self.setting.about_error(),
            2.0 * 2f64.sqrt() * error,
            self.setting.options.seed,
            self.setting.markdown(),
            arm_result::markdown(self.arms.iter().map(|variant| &variant.arm)),
        )
    }
}

#[cfg(test)]
mod tests {
    use slimclr_core::{config::Config, event::Event};

    use super::*;
    use crate::experiment::fixture::{FINISHED, probed, setting, started, step};

    fn result(variant: Variant, events: &[Event]) -> VariantResult {
        VariantResult { variant, arm: ArmResult::new(&variant.to_string(), events) }
    }

    fn results(arms: Vec<VariantResult>) -> Results {
        Results { setting: setting(Config { widths: vec![1.0, 0.5], ..Config::mini() }), arms }
    }

    #[test]
    fn single_width_networks_share_a_row_and_missing_cells_are_marked() {
        let alone = |width, probe| {
            result(Variant::Alone(width), &[started(&[1.0]), step(1), step(2), FINISHED, probed(1.0, probe)])
        };
        let slimclr = result(Variant::Slimclr, &[started(&[1.0, 0.5])]);
        let table = results(vec![
            alone(1.0, Some(0.612)),
            alone(0.5, Some(0.5)),
            result(Variant::Naive, &[started(&[1.0, 0.5]), step(1)]),
            VariantResult { arm: slimclr.arm.failed("the loss | is NaN"), ..slimclr },
            result(
                Variant::Supervised,
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
        let json = serde_json::to_value(results(vec![result(Variant::Alone(0.5), &events)])).unwrap();
        let arm = &json["arms"][0];
        assert_eq!((&arm["arm"], &arm["state"]), (&"alone-0.5".into(), &"done".into()));
        assert_eq!(arm["evaluated"][0]["probe"], 0.6);
        assert_eq!(json["training_images"], 5000);
    }
}
