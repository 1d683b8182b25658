//! kNN accuracy of each width over training.

use slimclr_run::event::Evaluated;

use crate::{
    history::RunHistory,
    plot::{
        axes::Axis,
        chart::Chart,
        drawing::Drawing,
        figure::{Figure, Missing, Panel},
        frame::{PANEL_LABELLED, WIDE},
        legend::widths_legend,
        marks::Shape,
        scale::Scale,
        training_curve::{changes_note, mark_changes, training_axis},
    },
    runs::{Run, Runs},
    text::{count, percent, sentence, width},
};

/// The fraction of test images that are classified correctly, with its standard error if known.
#[derive(Debug, Clone, Copy)]
pub struct Accuracy {
    /// The fraction, from 0 to 1.
    pub fraction: f64,
    /// Its standard error.
    pub standard_error: Option<f64>,
}

impl Accuracy {
    /// The kNN accuracy of an evaluation, if it was measured.
    pub fn knn(evaluated: &Evaluated) -> Option<Self> {
        Some(Self { fraction: evaluated.knn?, standard_error: evaluated.knn_standard_error })
    }

    /// Returns the accuracy in percent, without a percent sign.
    pub fn text(self) -> String {
        let error = self.standard_error.map(|error| format!(" ±\u{a0}{}", percent(error))).unwrap_or_default();
        percent(self.fraction) + &error
    }

    /// Returns the accuracy minus and plus one standard error, in percent, limited to 0 and 100.
    pub fn interval(self) -> [f64; 2] {
        let error = self.standard_error.filter(|error| error.is_finite()).unwrap_or(0.0);
        [-error, error].map(|error| 100.0 * (self.fraction + error).clamp(0.0, 1.0))
    }
}

/// An evaluation's step and its accuracy.
type Point = (u64, Accuracy);

/// Draws the accuracy of each width at every evaluation.
///
/// # Errors
/// If no width's accuracy was measured at least twice.
pub fn accuracy_over_training(runs: &Runs) -> Result<Figure, Missing> {
    const TOO_FEW: &str = "no width’s accuracy was measured more than once";
    if let [run] = runs.all.as_slice()
        && let Some(reason) = run.history.no_accuracy()
    {
        return Err(format!("There is no accuracy, because {reason}."));
    }
    let all = runs.all.iter().map(|run| (run, finite_accuracies(&run.history)));
    let drawn: Vec<(&Run, Vec<Vec<Point>>)> =
        all.filter(|(_, all)| all.iter().any(|of_width| of_width.len() >= 2)).collect();
    let accuracies = || drawn.iter().flat_map(|(_, all)| all.iter().flatten());
    let y = Scale::linear(accuracies().flat_map(|(_, accuracy)| accuracy.interval()));
    let is_drawn = |run: &Run| drawn.iter().any(|(other, _)| std::ptr::eq(*other, run));
    let omitted = runs.omitted(is_drawn, TOO_FEW);
    let Some(y) = y else {
        return Err(omitted.unwrap_or_else(|| sentence(TOO_FEW)));
    };
    let panel = |(number, (run, all)): (usize, &(&Run, Vec<Vec<Point>>))| {
        let frame = if runs.all.len() == 1 { WIDE } else { PANEL_LABELLED };
        let (x, unit) = training_axis(runs.steps_taken());
        let chart = Chart::new(frame, x, Axis { title: "kNN accuracy (%)".into(), scale: y.clone() });
        let id = if runs.all.len() == 1 { ID.into() } else { format!("{ID}-{number}") };
        Panel::new(runs.label(run), "", Ok(accuracy_curves(chart, runs, run, all, unit, &id)))
    };
    Ok(Figure {
        panels: drawn.iter().enumerate().map(panel).collect(),
        legend: widths_legend(&runs.widths),
        caption: "Each point is one evaluation, ± one standard error. Step 0 is before training.".into(),
        notes: changes_note(runs).into_iter().collect(),
        omitted,
    })
}

const ID: &str = "accuracy-over-training";

/// Returns the evaluations with a finite accuracy, for each width.
fn finite_accuracies(history: &RunHistory) -> Vec<Vec<Point>> {
    let of_width = |width: &f64| {
        let all = history.evaluations(*width).into_iter();
        let point = |evaluated: &Evaluated| Some((evaluated.step, Accuracy::knn(evaluated)?));
        all.filter_map(point).filter(|(_, accuracy)| accuracy.fraction.is_finite()).collect()
    };
    history.widths().iter().map(of_width).collect()
}

/// Draws one curve for each width of `run`.
fn accuracy_curves(mut chart: Chart, runs: &Runs, run: &Run, all: &[Vec<Point>], unit: f64, id: &str) -> Drawing {
    mark_changes(&mut chart, &run.history, unit);
    let mut description = String::from("kNN accuracy over training steps.");
    for (value, of_width) in run.history.widths().iter().zip(all) {
        let (index, name) = (runs.index(*value), width(*value));
        let class = format!("w{index} filled");
        let at = |(step, accuracy): &Point| (*step as f64 / unit, 100.0 * accuracy.fraction);
        chart.line(&of_width.iter().map(at).collect::<Vec<_>>(), &class);
        for point in of_width {
            let (step, accuracy) = point;
            chart.error_bar(at(point).0, accuracy.interval(), &class);
            let tooltip = format!("width {name}, step {}: {} %", count(*step), accuracy.text());
            chart.point(at(point), Shape::of(index), &class, &tooltip);
        }
        if let [first, .., last] = of_width.as_slice() {
            chart.end_label(at(last), &name, &class);
            description += &format!(
                " Width {name}: from {} % at step {} to {} % at step {}.",
                percent(first.1.fraction),
                count(first.0),
                percent(last.1.fraction),
                count(last.0)
            );
        }
    }
    chart.drawing(id, "Accuracy over training", &description)
}
