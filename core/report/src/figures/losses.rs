//! Loss of each width over training, and what it consists of.

use slimclr_run::{distill::Distillation, event::Step};

use super::loss_monitors::loss_monitors;
use crate::{
    history::RunHistory,
    plot::{
        axes::Axis,
        chart::Chart,
        drawing::Drawing,
        figure::{Figure, Missing, Panel},
        frame::PANEL,
        scale::Scale,
        training_curve::{
            changes_note, mark_changes, mark_filled_queue, phase_boundaries, smoothed_line, smoothing_note,
            training_axis,
        },
    },
    runs::{Run, Runs},
    text::{count, plural, sentence, width},
};

/// Draws what the losses consist of, as far as it is recorded, and then the weighted losses.
pub fn losses(runs: &Runs) -> Vec<Result<Figure, Missing>> {
    loss_monitors(runs).map(Ok).into_iter().chain([weighted_losses(runs)]).collect()
}

/// Draws the weighted loss of each width over training, on a separate y axis for each.
///
/// # Errors
/// If no training step is recorded.
fn weighted_losses(runs: &Runs) -> Result<Figure, Missing> {
    const NO_STEPS: &str = "no training steps are recorded";
    let omitted = runs.omitted(|run| !run.history.steps.is_empty(), NO_STEPS);
    let drawn: Vec<&Run> = runs.all.iter().filter(|run| !run.history.steps.is_empty()).collect();
    if drawn.is_empty() {
        return Err(omitted.unwrap_or_else(|| sentence(NO_STEPS)));
    }
    let mut notes = Vec::new();
    let mut panels = Vec::new();
    let mut longest_window = 1;
    for (index, value) in runs.widths.iter().enumerate() {
        // Grouped by width, so that runs are compared side by side.
        for run in &drawn {
            let Some(of_run) = run.history.widths().iter().position(|width| width == value) else { continue };
            let (name, label) = (format!("Width {}", width(*value)), runs.label(run));
            let curve = loss_curve(runs, &run.history, of_run, &format!("loss-{}", panels.len()));
            longest_window = longest_window.max(curve.window);
            if curve.gaps > 0 {
                let of_run = if label.is_empty() { String::new() } else { format!(" of {label}") };
                let steps = plural(curve.gaps, "step");
                notes
                    .push(format!("{name}{of_run}: the loss is NaN or infinite at {steps}, where the line has a gap."));
            }
            let (group, heading) = if label.is_empty() { (label, name) } else { (name, label) };
            panels.push(Panel { width: Some(index), ..Panel::new(group, heading, curve.content) });
        }
    }
    notes.extend(changes_note(runs));
    let each = if runs.all.len() == 1 { "One chart per width" } else { "One chart per width and run" };
    Ok(Figure {
        panels,
        legend: Vec::new(),
        caption: format!(
            "{each}, each with its own y axis: the weighted sum that training minimises. Losses of sub-networks include \
             distillation with its teacher’s entropy and can be ten times larger. Compare the shapes of the curves, not \
             their heights.{}",
            smoothing_note(longest_window)
        ),
        notes,
        omitted,
    })
}

/// The loss of one width over training.
struct LossCurve {
    content: Result<Drawing, Missing>,
    /// The number of steps with a NaN or infinite loss.
    gaps: u64,
    /// The window of the running mean.
    window: usize,
}

/// Draws the loss of the width with index `index` in its run.
fn loss_curve(runs: &Runs, history: &RunHistory, index: usize, id: &str) -> LossCurve {
    let (x, unit) = training_axis(runs.steps_taken());
    let trained = |step: &&&Step| index == 0 || history.trained_all(step.step);
    let points: Vec<(f64, f64)> = history
        .steps
        .iter()
        .filter(trained)
        .filter_map(|step| Some((step.step as f64 / unit, *step.losses.get(index)?)))
        .collect();
    let gaps = points.iter().filter(|(_, loss)| !loss.is_finite()).count() as u64;
    let Some(y) = Scale::linear(points.iter().map(|(_, loss)| *loss)) else {
        let end = history.end_of_slow_start();
        let reason = if points.is_empty() && history.steps_taken <= end {
            format!("Not trained yet: slow start ends at step {}.", count(end))
        } else {
            "There is no finite loss to draw.".into()
        };
        return LossCurve { content: Err(reason), gaps, window: 1 };
    };
    let value = history.widths()[index];
    let mut chart = Chart::new(PANEL, x, Axis { title: axis_title(history, index).into(), scale: y });
    mark_changes(&mut chart, history, unit);
    mark_filled_queue(&mut chart, history, unit);
    let class = format!("w{}", runs.index(value));
    let (_, window) = smoothed_line(&mut chart, &points, &phase_boundaries(history, unit), &class);
    let description = match points.as_slice() {
        [first, .., last] => format!("From {:.3} to {:.3}.", first.1, last.1),
        _ => "A single step.".into(),
    };
    let title = format!("Loss of width {} over training", width(value));
    LossCurve { content: Ok(chart.drawing(id, &title, &description)), gaps, window }
}

/// Returns the title of a y axis. Cross-entropies and divergences are in nats; squared errors, and sums with them, have
/// no unit.
fn axis_title(history: &RunHistory, index: usize) -> &'static str {
    match history.config.distill {
        Distillation::MseEmbeddings | Distillation::MseLogits if index > 0 => "Weighted loss",
        _ => "Weighted loss (nats)",
    }
}
