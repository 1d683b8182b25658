//! Lines over training.

use crate::{
    chart::{Axis, Chart, LINE_POINTS, Scale},
    record::{Change, Record},
    runs::Runs,
    text::count,
};

/// The axis of so many training steps, and how many steps its unit has.
pub fn training_axis(taken: u64) -> (Axis, f64) {
    let (unit, title) = match taken {
        20_000.. => (1e3, "Training step (thousands)"),
        _ => (1.0, "Training step"),
    };
    let scale = Scale::between(0.0, taken.max(1) as f64 / unit);
    (Axis { title: title.into(), scale }, unit)
}

/// Marks where sub-networks begin to train, and where the run went on with other options.
pub fn mark_turns(chart: &mut Chart, record: &Record, unit: f64) {
    if let Some(step) = record.slow_start_end() {
        chart.vertical(step as f64 / unit, "slow start ends");
    }
    // Where there is no room for all labels, the latest has it.
    for Change { step, words, .. } in record.changes.iter().rev() {
        chart.change(*step as f64 / unit, words);
    }
}

/// Where the runs went on with other options, as a sentence; none if they did not.
pub fn changes_in_words(runs: &Runs) -> Option<String> {
    let of_run = |(name, record): (String, &Record)| {
        let change = |Change { step, words, .. }: &Change| format!("{} after step {}", words.join(", "), count(*step));
        let changes: Vec<String> = record.changes.iter().map(change).collect();
        let name = if name.is_empty() { name } else { format!(" of {name}") };
        (!changes.is_empty()).then(|| format!("Changes{name}: {}.", changes.join("; ")))
    };
    let sentences: Vec<String> = runs.all.iter().filter_map(|run| of_run((runs.label(run), &run.record))).collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

/// Draws `points` faintly and their running mean over them; only themselves where they are few. Returns
/// what was drawn strongly, and the window of the mean, which does not reach across any of `turns`, which ascend.
pub fn trace(chart: &mut Chart, points: &[(f64, f64)], turns: &[f64], class: &str) -> (Vec<(f64, f64)>, usize) {
    let window = window(points.len());
    if window > 1 {
        chart.line(points, &format!("{class} faint"));
    }
    let mut rest = points;
    let mut parts = Vec::new();
    for turn in turns.iter().copied().chain([f64::INFINITY]) {
        let (before, after) = rest.split_at(rest.partition_point(|(x, _)| *x <= turn));
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

/// The number of points that a running mean takes in: odd, a fortieth of all.
fn window(points: usize) -> usize {
    points / 80 * 2 + 1
}

/// The mean of the finite values in the window around each point, which is cut at the ends. Where there are
/// more points than a line keeps, around every so many: a mean around each would take time with their square.
fn running_mean(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let reach = window / 2;
    let mean = |at: usize| {
        let around = &points[at.saturating_sub(reach)..points.len().min(at + reach + 1)];
        let finite = || around.iter().map(|(_, y)| *y).filter(|y| y.is_finite());
        finite().sum::<f64>() / finite().count() as f64
    };
    let stride = points.len().div_ceil(LINE_POINTS).max(1);
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

/// What the faint and the strong lines of [`trace`] are.
pub fn smoothing_in_words(window: usize) -> String {
    if window > 1 {
        format!(" Faint lines are single steps, strong ones running means over {window} reported steps.")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_mean_passes_over_values_that_are_none() {
        let points = [(0.0, 1.0), (1.0, f64::NAN), (2.0, 5.0), (3.0, 7.0)];
        let mean = running_mean(&points, 3);
        assert_eq!((mean[0].1, mean[2].1, mean[3].1), (1.0, 6.0, 6.0));
        assert!(mean[1].1.is_nan());
        assert!(running_mean(&[], 1).is_empty());
        assert_eq!(running_mean(&points[..1], 1), points[..1]);
        assert_eq!([0, 79, 80, 1000].map(window), [1, 1, 3, 25]);
    }
}
