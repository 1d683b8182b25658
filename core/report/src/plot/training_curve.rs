//! Curves over training.

use slimclr_run::event::Interference;

use crate::{
    history::{Change, RunHistory},
    plot::{
        axes::Axis,
        chart::Chart,
        figure::{Missing, Panel},
        frame::Frame,
        marks::MAX_LINE_POINTS,
        scale::Scale,
    },
    runs::{Run, Runs},
    text::count,
};

/// The curves of one panel.
pub struct Curves<'r, 'a> {
    /// The run that they show.
    pub run: &'r Run<'a>,
    /// What they show of it; empty if the figure says it.
    pub heading: String,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// A value over training.
pub struct Curve {
    /// The label at its end.
    pub name: String,
    /// CSS classes.
    pub class: String,
    /// Steps and values.
    pub points: Vec<(f64, f64)>,
}

impl Curves<'_, '_> {
    /// Returns all values.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.curves.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value)
    }
}

/// Returns why runs without any of `drawn` are not drawn.
pub fn omitted(runs: &Runs, drawn: &[Curves], reason: &str) -> Option<Missing> {
    runs.omitted(|run| drawn.iter().any(|curves| std::ptr::eq(curves.run, run)), reason)
}

/// Returns `value` of each measurement of `run` that has it, by step.
pub fn over_training(run: &Run, value: impl Fn(&Interference) -> Option<f64>) -> Vec<(f64, f64)> {
    run.history.interference.iter().filter_map(|at| Some((at.step as f64, value(at)?))).collect()
}

/// What the panels of a figure share.
pub struct CurvePanels {
    /// Prefix of the panels' ids.
    pub id: &'static str,
    /// Title of each panel.
    pub title: &'static str,
    /// Size of each panel.
    pub frame: Frame,
    /// The y axis.
    pub y: Axis,
}

impl CurvePanels {
    /// Returns one panel for each of `drawn`, all with the same axes, and the longest window of a running mean.
    pub fn draw(&self, runs: &Runs, drawn: &[Curves]) -> (Vec<Panel>, usize) {
        let mut longest = 1;
        let panels = drawn.iter().enumerate().map(|(index, Curves { run, heading, curves })| {
            let (x, unit) = training_axis(runs.steps_taken());
            let mut chart = Chart::new(self.frame, x, self.y.clone());
            mark_changes(&mut chart, &run.history, unit);
            let boundaries = phase_boundaries(&run.history, unit);
            let mut description = format!("{} over training steps.", self.y.title);
            for Curve { name, class, points } in curves {
                let points: Vec<(f64, f64)> = points.iter().map(|(step, value)| (step / unit, *value)).collect();
                let (mean, window) = smoothed_line(&mut chart, &points, &boundaries, class);
                longest = longest.max(window);
                let visible = |(_, value): &&(f64, f64)| self.y.scale.position(*value).is_some();
                if let (Some(first), Some(last)) = (mean.iter().find(visible), mean.iter().rfind(visible)) {
                    chart.end_label(*last, name, class);
                    description += &format!(" {name}: from {:.3e} to {:.3e}.", first.1, last.1);
                }
            }
            let drawing = chart.drawing(&format!("{}-{index}", self.id), self.title, &description);
            Panel::new(runs.label(run), heading.as_str(), Ok(drawing))
        });
        (panels.collect(), longest)
    }
}

/// Returns an axis of this many training steps, and the number of steps in its unit.
pub fn training_axis(steps: u64) -> (Axis, f64) {
    let (unit, title) = match steps {
        20_000.. => (1e3, "Training step (thousands)"),
        _ => (1.0, "Training step"),
    };
    let scale = Scale::exact(0.0, steps.max(1) as f64 / unit);
    (Axis { title: title.into(), scale }, unit)
}

/// Marks the end of slow start and changes of options.
pub fn mark_changes(chart: &mut Chart, history: &RunHistory, unit: f64) {
    if let Some(step) = history.slow_start_end() {
        chart.vertical_line(step as f64 / unit, "slow start ends");
    }
    // Latest first: if labels do not all fit, the latest is shown.
    for Change { step, differences, .. } in history.changes.iter().rev() {
        chart.change_line(*step as f64 / unit, differences);
    }
}

/// Marks the end of the queue's first filling, until which a contrastive loss rises.
pub fn mark_filled_queue(chart: &mut Chart, history: &RunHistory, unit: f64) {
    if let Some(step) = history.queue_filled() {
        chart.change_line(step as f64 / unit, &["queue filled".into()]);
    }
}

/// Returns the runs' changes of options as a note, or `None` if there are none.
pub fn changes_note(runs: &Runs) -> Option<String> {
    let of_run = |(name, history): (String, &RunHistory)| {
        let change = |Change { step, differences, .. }: &Change| {
            format!("{} after step {}", differences.join(", "), count(*step))
        };
        let changes: Vec<String> = history.changes.iter().map(change).collect();
        let name = if name.is_empty() { name } else { format!(" of {name}") };
        (!changes.is_empty()).then(|| format!("Changed options{name}: {}.", changes.join("; ")))
    };
    let sentences: Vec<String> = runs.all.iter().filter_map(|run| of_run((runs.label(run), &run.history))).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Returns the x coordinates across which values are not averaged.
pub fn phase_boundaries(history: &RunHistory, unit: f64) -> Vec<f64> {
    history.phase_boundaries().into_iter().map(|step| step as f64 / unit).collect()
}

/// Draws `points` as a faint line with their running mean on top, or as a plain line if there are few. Returns the
/// mean, and the number of points that it averages over. It does not reach across `boundaries`, which must ascend.
pub fn smoothed_line(
    chart: &mut Chart,
    points: &[(f64, f64)],
    boundaries: &[f64],
    class: &str,
) -> (Vec<(f64, f64)>, usize) {
    let window = window(points.len());
    if window > 1 {
        chart.line(points, &format!("{class} faint"));
    }
    let mut rest = points;
    let mut parts = Vec::new();
    for boundary in boundaries.iter().copied().chain([f64::INFINITY]) {
        let (before, after) = rest.split_at(rest.partition_point(|(x, _)| *x <= boundary));
        parts.push(running_mean(before, window));
        rest = after;
    }
    if window > 1 {
        parts.iter().for_each(|part| chart.line(part, class));
    } else {
        chart.line(points, class);
    }
    (parts.concat(), window)
}

/// Returns the number of points that a running mean averages over: odd, about a fortieth of all.
fn window(points: usize) -> usize {
    points / 80 * 2 + 1
}

/// Returns the mean of the finite values in the window around each point; windows are cut at the ends. Points are
/// skipped if there are more than a line keeps, because the time would grow with their square.
fn running_mean(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let reach = window / 2;
    let mean = |at: usize| {
        let around = &points[at.saturating_sub(reach)..points.len().min(at + reach + 1)];
        let finite = || around.iter().map(|(_, y)| *y).filter(|y| y.is_finite());
        finite().sum::<f64>() / finite().count() as f64
    };
    let stride = points.len().div_ceil(MAX_LINE_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    (0..last)
        .step_by(stride)
        .chain((!points.is_empty()).then_some(last))
        .map(|at| {
            let (x, y) = points[at];
            (x, if y.is_finite() { mean(at) } else { y })
        })
        .collect()
}

/// Returns a sentence that explains the faint and the strong lines of [`smoothed_line`]; empty if nothing is averaged.
pub fn smoothing_note(window: usize) -> String {
    if window > 1 {
        format!(" Faint lines show single steps, strong lines the running mean of {window} reported steps.")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_mean_skips_values_that_are_not_finite() {
        let points = [(0.0, 1.0), (1.0, f64::NAN), (2.0, 5.0), (3.0, 7.0)];
        let mean = running_mean(&points, 3);
        assert_eq!((mean[0].1, mean[2].1, mean[3].1), (1.0, 6.0, 6.0));
        assert!(mean[1].1.is_nan());
        assert!(running_mean(&[], 1).is_empty());
        assert_eq!(running_mean(&points[..1], 1), points[..1]);
        assert_eq!([0, 79, 80, 1000].map(window), [1, 1, 3, 25]);
    }
}
