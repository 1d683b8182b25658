//! What each width's loss consists of, over training: without weights, so that widths can be compared.

use slimclr_run::{
    config::Config,
    event::{LossMonitor, Step},
};

use crate::{
    history::RunHistory,
    plot::{
        axes::Axis,
        chart::Chart,
        drawing::Drawing,
        figure::{Figure, Panel},
        frame::PANEL_LABELLED,
        legend::widths_legend,
        scale::{Scale, drawable},
        training_curve::{
            changes_note, mark_changes, mark_filled_queue, phase_boundaries, smoothed_line, smoothing_note,
            training_axis,
        },
    },
    runs::{Run, Runs},
    text::{count, fixed, significant, width},
};

/// A quantity that a step reports, and how it is drawn.
struct Quantity {
    /// What it is of a method that contrasts views, and of one with labels.
    headings: [&'static str; 2],
    /// The title of its axis.
    axis: &'static str,
    /// Its value, if the method has it.
    value: fn(&LossMonitor) -> Option<f32>,
    /// What values are multiplied by.
    factor: f64,
}

const QUANTITIES: [Quantity; 6] = [
    Quantity {
        headings: ["Contrastive loss", "Cross-entropy of the classes"],
        axis: "Loss (nats)",
        value: |it| it.cross_entropy,
        factor: 1.0,
    },
    Quantity {
        headings: ["Contrastive accuracy, top-1", "Accuracy on training views, top-1"],
        axis: "Views (%)",
        value: |it| it.top1,
        factor: 100.0,
    },
    Quantity {
        headings: ["Contrastive accuracy, top-5", "Accuracy on training views, top-5"],
        axis: "Views (%)",
        value: |it| it.top5,
        factor: 100.0,
    },
    Quantity {
        headings: ["Divergence from wider networks"; 2],
        axis: "Divergence",
        value: |it| it.divergence,
        factor: 1.0,
    },
    Quantity {
        headings: ["Divergence from the teacher"; 2],
        axis: "Divergence",
        value: |it| it.teacher_divergence,
        factor: 1.0,
    },
    Quantity {
        headings: ["Cosine of prediction and target"; 2],
        axis: "Mean cosine",
        value: |it| it.cosine,
        factor: 1.0,
    },
];

impl Quantity {
    fn heading(&self, config: &Config) -> &'static str {
        self.headings[usize::from(config.method.has_classes())]
    }

    fn of(&self, monitor: &LossMonitor) -> Option<f64> {
        Some(self.factor * f64::from((self.value)(monitor)?))
    }

    /// Returns its values, by step, for each width.
    fn points(&self, history: &RunHistory) -> Vec<Vec<(f64, f64)>> {
        let of_width = |index: usize| {
            let point = |step: &&Step| Some((step.step as f64, self.of(step.monitors.get(index)?)?));
            history.steps.iter().filter_map(point).collect()
        };
        (0..history.widths().len()).map(of_width).collect()
    }

    /// Returns its chance level, if that means something.
    fn chance(&self, config: &Config) -> Option<f64> {
        self.of(&LossMonitor::of_guess(config.candidates()?))
    }
}

/// Draws the contrastive loss, the contrastive accuracy and the divergence from the teacher, as far as they are recorded,
/// with a curve for each width. Returns `None` if no run has any of them, as with SwAV, and in files of earlier versions.
pub fn loss_monitors(runs: &Runs) -> Option<Figure> {
    let mut panels = Vec::new();
    let mut longest_window = 1;
    for quantity in &QUANTITIES {
        let of_run = |run: &Run| quantity.points(&run.history);
        let values = runs.all.iter().flat_map(|run| of_run(run).concat()).map(|(_, value)| value);
        let values: Vec<f64> = values.filter(|value| drawable(*value)).collect();
        if values.is_empty() {
            continue;
        }
        let chances = runs.all.iter().filter_map(|run| quantity.chance(run.history.config));
        let Some(scale) = Scale::linear(values.into_iter().chain(chances)) else { continue };
        // Grouped by quantity, so that runs are compared side by side.
        for run in &runs.all {
            let points = of_run(run);
            if points.iter().all(Vec::is_empty) {
                continue;
            }
            let axis = Axis { title: quantity.axis.into(), scale: scale.clone() };
            let id = format!("loss-monitor-{}", panels.len());
            let (drawing, window) = curves(runs, run, quantity, (axis, &points), &id);
            longest_window = longest_window.max(window);
            let (what, label) = (quantity.heading(run.history.config).to_owned(), runs.label(run));
            let (group, heading) = if label.is_empty() { (label, what) } else { (what, label) };
            panels.push(Panel::new(group, heading, Ok(drawing)));
        }
    }
    (!panels.is_empty()).then(|| Figure {
        panels,
        legend: widths_legend(&runs.widths),
        caption: format!("{}{}", caption(runs), smoothing_note(longest_window)),
        notes: changes_note(runs).into_iter().collect(),
        omitted: None,
    })
}

/// Draws one curve for each width of `run`. Returns the window of the running mean, too.
fn curves(
    runs: &Runs,
    run: &Run,
    quantity: &Quantity,
    (y, points): (Axis, &[Vec<(f64, f64)>]),
    id: &str,
) -> (Drawing, usize) {
    let (x, unit) = training_axis(runs.steps_taken());
    let mut chart = Chart::new(PANEL_LABELLED, x, y);
    mark_changes(&mut chart, &run.history, unit);
    mark_filled_queue(&mut chart, &run.history, unit);
    if let Some(chance) = quantity.chance(run.history.config) {
        chart.horizontal_line(chance, "chance");
    }
    let (mut description, mut longest_window) = (String::new(), 1);
    for (value, of_width) in run.history.widths().iter().zip(points) {
        let (index, name) = (runs.index(*value), width(*value));
        let class = format!("w{index}");
        let points: Vec<(f64, f64)> = of_width.iter().map(|(step, value)| (step / unit, *value)).collect();
        let (mean, window) = smoothed_line(&mut chart, &points, &phase_boundaries(&run.history, unit), &class);
        longest_window = longest_window.max(window);
        if let [first, .., last] = mean.as_slice() {
            chart.end_label(*last, &name, &class);
            description += &format!("Width {name}: from {} to {}. ", significant(first.1), significant(last.1));
        }
    }
    let title = format!("{}, over training", quantity.heading(run.history.config));
    (chart.drawing(id, &title, description.trim_end()), longest_window)
}

/// Says what to look for.
fn caption(runs: &Runs) -> String {
    let has = |value: fn(&LossMonitor) -> Option<f32>| {
        let mut steps = runs.all.iter().flat_map(|run| &run.history.steps);
        steps.any(|step| step.monitors.iter().any(|monitor| value(monitor).is_some()))
    };
    let mut sentences =
        vec!["Values are without the weights of the sum below, so that widths can be compared.".to_owned()];
    if has(|it| it.cross_entropy) {
        sentences.push(chance(runs));
    }
    let filled = runs.all.iter().filter_map(|run| run.history.queue_filled()).max();
    if let Some(step) = filled {
        sentences.push(format!(
            "The loss rises until the queue is filled, at step {}, because its first keys are random and easy to tell \
             from the positive.",
            count(step)
        ));
    }
    if has(|it| it.divergence.or(it.teacher_divergence)) {
        sentences.push(
            "A divergence is the distillation loss minus its minimum: 0 if a network’s outputs equal its teacher’s."
                .into(),
        );
    }
    if has(|it| it.cosine) {
        sentences.push("The cosine is 1 if every prediction has the direction of its target.".into());
    }
    sentences.join(" ")
}

/// Says what chance level is.
fn chance(runs: &Runs) -> String {
    let candidates = |run: &Run| Some((run.history.config.candidates()?, run.history.config.method.has_classes()));
    let mut all: Vec<(usize, bool)> = runs.all.iter().filter_map(candidates).collect();
    all.dedup();
    match all.as_slice() {
        [(candidates, has_classes)] => {
            let (accuracy, among) = match has_classes {
                true => ("Top-1 is the share of views whose class has the highest score", "classes".to_owned()),
                false => (
                    "Contrastive accuracy (top-1) is the share of views whose positive is more similar than all negatives",
                    format!("candidates, the positive and {} negatives,", count(candidates.saturating_sub(1) as u64)),
                ),
            };
            let number = count(*candidates as u64);
            let loss = fixed((*candidates as f64).ln(), 2);
            format!(
                "{accuracy}. Dashed lines show chance level: a guess among {number} {among} has a loss of ln {number} = \
                 {loss}. A network learns if its loss falls below and its accuracy rises above."
            )
        }
        _ => "Dashed lines show chance level. A network learns if its loss falls below.".into(),
    }
}
