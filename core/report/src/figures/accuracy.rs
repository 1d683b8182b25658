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
    /// The kNN accuracy of an evaluation.
    pub fn knn(evaluated: &Evaluated) -> Self {
        Self { fraction: evaluated.knn, standard_error: Some(evaluated.knn_standard_error) }
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

/// Draws the accuracy of each width at every evaluation.
///
/// # Errors
/// If no width was evaluated at least twice.
pub fn accuracy_over_training(runs: &Runs) -> Result<Figure, Missing> {
    const TOO_FEW: &str = "no width was evaluated more than once";
    let all = runs.all.iter().map(|run| (run, finite_evaluations(&run.history)));
    let drawn: Vec<(&Run, Vec<Vec<&Evaluated>>)> =
        all.filter(|(_, all)| all.iter().any(|of_width| of_width.len() >= 2)).collect();
    let evaluations = || drawn.iter().flat_map(|(_, all)| all.iter().flatten());
    let y = Scale::linear(evaluations().flat_map(|evaluated| Accuracy::knn(evaluated).interval()));
    let is_drawn = |run: &Run| drawn.iter().any(|(other, _)| std::ptr::eq(*other, run));
    let omitted = runs.omitted(is_drawn, TOO_FEW);
    let Some(y) = y else {
        return Err(omitted.unwrap_or_else(|| sentence(TOO_FEW)));
    };
    let panel = |(number, (run, all)): (usize, &(&Run, Vec<Vec<&Evaluated>>))| {
        let frame = if runs.all.len() == 1 { WIDE } else { PANEL_LABELLED };
        let (x, unit) = training_axis(runs.steps_taken());
        let chart = Chart::new(frame, x, Axis { title: "kNN accuracy (%)".into(), scale: y.clone() });
        let id = if runs.all.len() == 1 { ID.into() } else { format!("{ID}-{number}") };
        Panel::new(runs.label(run), "", Ok(accuracy_curves(chart, runs, run, all, unit, &id)))
    };
    Ok(Figure {
        panels: drawn.iter().enumerate().map(panel).collect(),
        legend: widths_legend(&runs.widths),
        caption: "Each point is one evaluation, ± one standard error. Step 0 is the untrained network.".into(),
        notes: changes_note(runs).into_iter().collect(),
        omitted,
    })
}

const ID: &str = "accuracy-over-training";

/// Returns the evaluations with a finite accuracy, for each width.
fn finite_evaluations<'a>(history: &RunHistory<'a>) -> Vec<Vec<&'a Evaluated>> {
    let of_width = |width: &f64| {
        let all = history.evaluations(*width).into_iter();
        all.filter(|evaluated| evaluated.knn.is_finite()).collect()
    };
    history.widths().iter().map(of_width).collect()
}

/// Draws one curve for each width of `run`.
fn accuracy_curves(
    mut chart: Chart,
    runs: &Runs,
    run: &Run,
    evaluations: &[Vec<&Evaluated>],
    unit: f64,
    id: &str,
) -> Drawing {
    mark_changes(&mut chart, &run.history, unit);
    let mut description = String::from("kNN accuracy over training steps.");
    for (value, all) in run.history.widths().iter().zip(evaluations) {
        let index = runs.index(*value);
        let class = format!("w{index} filled");
        let points: Vec<(f64, f64)> = all.iter().map(|e| (e.step as f64 / unit, 100.0 * e.knn)).collect();
        chart.line(&points, &class);
        for (evaluated, at) in all.iter().zip(&points) {
            let accuracy = Accuracy::knn(evaluated);
            chart.error_bar(at.0, accuracy.interval(), &class);
            let tooltip =
                format!("width {}, step {}: {} %", width(evaluated.width), count(evaluated.step), accuracy.text());
            chart.point(*at, Shape::of(index), &class, &tooltip);
        }
        if let (Some(end), [first, .., last]) = (points.last(), all.as_slice()) {
            chart.end_label(*end, &width(last.width), &class);
            description += &format!(
                " Width {}: from {} % at step {} to {} % at step {}.",
                width(last.width),
                percent(first.knn),
                count(first.step),
                percent(last.knn),
                count(last.step)
            );
        }
    }
    chart.drawing(id, "Accuracy over training", &description)
}
