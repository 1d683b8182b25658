//! The figures: what each shows of a run, and how to read it.

use slimclr_run::{distill::Distillation, event::Evaluated, event::Step};

use crate::{
    chart::{Axis, Chart, LABELLED, NAMED, PANEL, Scale, Shape, WIDE},
    course::{changes_in_words, mark_turns, smoothing_in_words, trace, training_axis},
    drawing::Drawing,
    key::{Key, Mark},
    record::Record,
    runs::{Run, Runs},
    text::{compact, count, percent, plural, sentence, width},
};

/// Panels with the words that belong to them.
#[derive(Debug)]
pub struct Figure {
    /// What is drawn; panels of one group follow one another.
    pub panels: Vec<Panel>,
    /// What the marks stand for.
    pub key: Vec<Key>,
    /// How to read the figure.
    pub reading: String,
    /// What is not drawn, or needs to be known beside.
    pub notes: Vec<String>,
    /// Which runs are not in it, and why.
    pub lacking: Option<Missing>,
}

impl Figure {
    /// One chart that needs no heading, with its legend.
    pub fn single(drawing: Drawing, key: Vec<Key>, reading: impl Into<String>) -> Self {
        let panels = vec![Panel::new("", "", Ok(drawing))];
        Self { panels, key, reading: reading.into(), notes: Vec::new(), lacking: None }
    }
}

/// One of the charts of a figure.
#[derive(Debug)]
pub struct Panel {
    /// What it has in common with others of the figure, such as their run.
    pub group: String,
    /// What it shows, beside that.
    pub heading: String,
    /// The place of the width that it is about among the widths.
    pub width: Option<usize>,
    /// The chart.
    pub content: Result<Drawing, Missing>,
}

impl Panel {
    /// A panel that is about no particular width.
    pub fn new(group: impl Into<String>, heading: impl Into<String>, content: Result<Drawing, Missing>) -> Self {
        Self { group: group.into(), heading: heading.into(), width: None, content }
    }

    /// The heading where that of its group does not stand above.
    pub fn full_heading(&self) -> String {
        let separator = if self.group.is_empty() || self.heading.is_empty() { "" } else { " · " };
        format!("{}{separator}{}", self.group, self.heading)
    }
}

/// The groups of `panels`, each with its heading; a single one without, if most of them have a panel only.
pub fn groups(panels: &[Panel]) -> Vec<(Option<&str>, &[Panel])> {
    let groups: Vec<&[Panel]> = panels.chunk_by(|a, b| a.group == b.group).collect();
    let single = groups.iter().filter(|group| group.len() == 1).count();
    if 2 * single > groups.len() {
        return vec![(None, panels)];
    }
    groups.into_iter().map(|group| (Some(group[0].group.as_str()).filter(|name| !name.is_empty()), group)).collect()
}

/// Why there is no figure.
pub type Missing = String;

/// A share of the test images, with its standard error where that is known.
#[derive(Debug, Clone, Copy)]
pub struct Accuracy {
    fraction: f64,
    standard_error: Option<f64>,
}

impl Accuracy {
    /// Of the nearest neighbours' vote.
    pub fn knn(evaluated: &Evaluated) -> Self {
        Self { fraction: evaluated.knn, standard_error: Some(evaluated.knn_standard_error) }
    }

    /// In percent, without the sign.
    pub fn in_words(self) -> String {
        let error = self.standard_error.map(|error| format!(" ±\u{a0}{}", percent(error))).unwrap_or_default();
        percent(self.fraction) + &error
    }

    /// One standard error less and more, in percent, as far as an accuracy can go.
    fn interval(self) -> [f64; 2] {
        let error = self.standard_error.filter(|error| error.is_finite()).unwrap_or(0.0);
        [-error, error].map(|error| 100.0 * (self.fraction + error).clamp(0.0, 1.0))
    }
}

/// Says so if a width has learned nothing from `before` training to `after` it, where there was something to learn.
pub fn learned_nothing(before: &Evaluated, after: &Evaluated) -> Option<String> {
    let [from, to] = [before, after].map(|evaluated| percent(evaluated.knn));
    let width = after.width;
    (before.knn < 1.0 && !after.has_learned(before))
        .then(|| format!("Width {width} learned nothing: kNN {from} % before training, {to} % after."))
}

/// Accuracy of each width before and after training, against its cost.
pub fn accuracy_by_cost<'a>(record: &Record<'a>) -> Result<Figure, Missing> {
    let line = |name, class, at: fn(&Record<'a>, f64) -> Option<&'a Evaluated>| {
        Line::new(record, name, class, |width| at(record, width).map(Accuracy::knn))
    };
    let lines = [line("before", "hollow", Record::before), line("after", "filled", Record::after)];
    let names =
        Names { id: "accuracy-by-cost", title: "Accuracy against cost", measure: "kNN accuracy", line: "training" };
    let (chart, key) = against_cost(record, &names, &lines)
        .ok_or("No width was evaluated, so there is no accuracy to set against cost.")?;
    let [before, after] = lines.each_ref().map(|line| !line.points.is_empty());
    let mut figure = Figure::single(
        chart,
        key,
        "Higher is more accurate, further left is cheaper (logarithmic axis); the gap between the two lines is what \
         training gave each width, and bars show ± one standard error.",
    );
    let both = |width: &f64| record.before(*width).zip(record.after(*width));
    figure.notes.extend(
        record.config.widths.iter().filter_map(both).filter_map(|(before, after)| learned_nothing(before, after)),
    );
    if !after {
        figure.notes.push("No evaluation after training is recorded.".into());
    } else if !before {
        figure.notes.push("No evaluation before training is recorded.".into());
    }
    Ok(figure)
}

/// What the two kinds of linear probe reach at each width, against its cost.
pub fn probes_by_cost(record: &Record) -> Result<Figure, Missing> {
    let line = |name, class, top1: fn(&Evaluated) -> Option<f64>| {
        let accuracy = |fraction| Accuracy { fraction, standard_error: None };
        Line::new(record, name, class, |width| record.after(width).and_then(top1).map(accuracy))
    };
    let lines = [line("switchable", "filled", |e| e.probe), line("slimmable", "hollow", |e| e.probe_slimmable)];
    let names =
        Names { id: "probes-by-cost", title: "Linear probes against cost", measure: "Top-1 accuracy", line: "probe" };
    let (chart, key) = against_cost(record, &names, &lines)
        .ok_or("No linear probe was trained; “slimclr evaluate” trains both kinds.")?;
    Ok(Figure::single(
        chart,
        key,
        "The switchable probe has a layer for each width, the slimmable one a single layer, of which each width uses \
         its slice. The gap between the two is what sharing the layer costs: a slice of the best layer for all features \
         would be the best for its own only if the others were orthogonal to them (the paper’s appendix A).",
    ))
}

/// What a figure of accuracies against cost calls its parts.
struct Names {
    id: &'static str,
    title: &'static str,
    /// The kind of accuracy.
    measure: &'static str,
    /// The noun that goes with the lines' names.
    line: &'static str,
}

/// Accuracies of several widths, joined by a line.
struct Line {
    name: &'static str,
    class: &'static str,
    points: Vec<Point>,
}

/// One width's accuracy and cost.
struct Point {
    index: usize,
    width: f64,
    macs: u64,
    accuracy: Accuracy,
}

impl Line {
    /// Of the widths that have a cost and, by `accuracy`, a finite accuracy.
    fn new(
        record: &Record,
        name: &'static str,
        class: &'static str,
        accuracy: impl Fn(f64) -> Option<Accuracy>,
    ) -> Self {
        let point = |(index, width): (usize, &f64)| {
            let macs = record.started.profile.iter().find(|profile| profile.width == *width)?.macs;
            let accuracy = accuracy(*width).filter(|accuracy| accuracy.fraction.is_finite())?;
            Some(Point { index, width: *width, macs, accuracy })
        };
        Self { name, class, points: record.widths().iter().enumerate().filter_map(point).collect() }
    }
}

/// A chart of `lines` with their legend; none if they have no points.
fn against_cost(record: &Record, names: &Names, lines: &[Line]) -> Option<(Drawing, Vec<Key>)> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (unit, unit_name) = match points().map(|point| point.macs).max()? {
        1_000_000_000.. => (1e9, "billions"),
        1_000_000.. => (1e6, "millions"),
        _ => (1e3, "thousands"),
    };
    let place = |point: &Point| (point.macs as f64 / unit, 100.0 * point.accuracy.fraction);
    let x = Scale::logarithmic(points().map(|point| place(point).0))?;
    let y = Scale::linear(points().flat_map(|point| point.accuracy.interval()))?;
    let mut chart = Chart::new(
        NAMED,
        Axis { title: format!("Multiply-accumulates per image ({unit_name})"), scale: x },
        Axis { title: format!("{} (%)", names.measure), scale: y },
    );
    let mut key = key_of_widths(record.widths());
    let mut description = format!("{} against multiply-accumulates.", names.measure);
    for Line { name, class, points } in lines {
        let places: Vec<(f64, f64)> = points.iter().map(place).collect();
        chart.line(&places, &format!("plain {class}"));
        for (point, at) in points.iter().zip(&places) {
            let (width, macs, accuracy) = (width(point.width), compact(point.macs), point.accuracy.in_words());
            let class = format!("w{} {class}", point.index);
            if point.accuracy.standard_error.is_some() {
                chart.error_bar(at.0, point.accuracy.interval(), &class);
            }
            let tip = format!("width {width}, {macs} MACs, {name}: {accuracy} %");
            chart.point(*at, Shape::of(point.index), &class, &tip);
            description += &format!(" Width {width}, {name} {}: {accuracy} % at {macs} MACs.", names.line);
        }
        if let Some(end) = places.iter().max_by(|a, b| a.0.total_cmp(&b.0)) {
            chart.label_end(*end, name, "plain");
            let rule = if *class == "hollow" { "plain hollow" } else { "plain filled" };
            key.push(Key::new(Mark::Rule(rule), format!("{name} {}, {class}", names.line)));
        }
    }
    // Above a width's highest point: lines that lie close together would have labels on top of each other.
    for (index, value) in record.widths().iter().enumerate() {
        let of_width = points().filter(|point| point.index == index);
        if let Some(highest) = of_width.max_by(|a, b| a.accuracy.fraction.total_cmp(&b.accuracy.fraction)) {
            let at = (place(highest).0, highest.accuracy.interval()[1]);
            chart.label_above(at, &width(*value), &format!("w{index}"));
        }
    }
    Some((chart.drawing(names.id, names.title, &description), key))
}

/// Accuracy of each width at every evaluation.
pub fn accuracy_over_training(runs: &Runs) -> Result<Figure, Missing> {
    const WHAT: &str = "no width was evaluated more than once, so there is no course to draw";
    let all = runs.all.iter().map(|run| (run, finite_evaluations(&run.record)));
    let drawn: Vec<(&Run, Vec<Vec<&Evaluated>>)> =
        all.filter(|(_, all)| all.iter().any(|of_width| of_width.len() >= 2)).collect();
    let evaluations = || drawn.iter().flat_map(|(_, all)| all.iter().flatten());
    let y = Scale::linear(evaluations().flat_map(|evaluated| Accuracy::knn(evaluated).interval()));
    let is_drawn = |run: &Run| drawn.iter().any(|(other, _)| std::ptr::eq(*other, run));
    let lacking = runs.lacking(is_drawn, WHAT);
    let Some(y) = y else {
        return Err(lacking.unwrap_or_else(|| sentence(WHAT)));
    };
    let panel = |(number, (run, all)): (usize, &(&Run, Vec<Vec<&Evaluated>>))| {
        let frame = if runs.all.len() == 1 { WIDE } else { LABELLED };
        let (x, unit) = training_axis(runs.taken());
        let chart = Chart::new(frame, x, Axis { title: "kNN accuracy (%)".into(), scale: y.clone() });
        let id = if runs.all.len() == 1 { ACCURACY_ID.into() } else { format!("{ACCURACY_ID}-{number}") };
        Panel::new(runs.label(run), "", Ok(accuracy_course(chart, runs, run, all, unit, &id)))
    };
    Ok(Figure {
        panels: drawn.iter().enumerate().map(panel).collect(),
        key: key_of_widths(&runs.widths),
        reading: "Each point is one evaluation with ± one standard error; step 0 is the untrained network.".into(),
        notes: changes_in_words(runs).into_iter().collect(),
        lacking,
    })
}

const ACCURACY_ID: &str = "accuracy-over-training";

/// For each width its evaluations that can be drawn.
fn finite_evaluations<'a>(record: &Record<'a>) -> Vec<Vec<&'a Evaluated>> {
    let of_width = |width: &f64| {
        let all = record.evaluations(*width).into_iter();
        all.filter(|evaluated| evaluated.knn.is_finite()).collect()
    };
    record.widths().iter().map(of_width).collect()
}

/// A line for each width of `run`.
fn accuracy_course(
    mut chart: Chart,
    runs: &Runs,
    run: &Run,
    evaluations: &[Vec<&Evaluated>],
    unit: f64,
    id: &str,
) -> Drawing {
    mark_turns(&mut chart, &run.record, unit);
    let mut description = String::from("kNN accuracy over training steps.");
    for (value, all) in run.record.widths().iter().zip(evaluations) {
        let index = runs.index(*value);
        let class = format!("w{index} filled");
        let points: Vec<(f64, f64)> = all.iter().map(|e| (e.step as f64 / unit, 100.0 * e.knn)).collect();
        chart.line(&points, &class);
        for (evaluated, at) in all.iter().zip(&points) {
            chart.error_bar(at.0, Accuracy::knn(evaluated).interval(), &class);
            let tip = format!(
                "width {}, step {}: {} %",
                width(evaluated.width),
                count(evaluated.step),
                Accuracy::knn(evaluated).in_words()
            );
            chart.point(*at, Shape::of(index), &class, &tip);
        }
        if let (Some(end), [first, .., last]) = (points.last(), all.as_slice()) {
            chart.label_end(*end, &width(last.width), &class);
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

/// Each width's loss, on an axis of its own.
pub fn losses(runs: &Runs) -> Result<Figure, Missing> {
    const WHAT: &str = "no training step is recorded, so there are no losses";
    let lacking = runs.lacking(|run| !run.record.steps.is_empty(), WHAT);
    let drawn: Vec<&Run> = runs.all.iter().filter(|run| !run.record.steps.is_empty()).collect();
    if drawn.is_empty() {
        return Err(lacking.unwrap_or_else(|| sentence(WHAT)));
    }
    let mut notes = Vec::new();
    let mut panels = Vec::new();
    let mut longest_window = 1;
    for (index, value) in runs.widths.iter().enumerate() {
        // What is compared stands side by side: a width's panels, of all runs.
        for run in &drawn {
            let Some(place) = run.record.widths().iter().position(|width| width == value) else { continue };
            let (name, label) = (format!("Width {}", width(*value)), runs.label(run));
            let course = loss_course(runs, &run.record, place, &format!("loss-{}", panels.len()));
            longest_window = longest_window.max(course.window);
            if course.gaps > 0 {
                let of_run = if label.is_empty() { String::new() } else { format!(" of {label}") };
                let steps = plural(course.gaps, "step");
                notes.push(format!("{name}{of_run} has no finite loss at {steps}; its line breaks there."));
            }
            let (group, heading) = if label.is_empty() { (label, name) } else { (name, label) };
            panels.push(Panel { width: Some(index), ..Panel::new(group, heading, course.content) });
        }
    }
    notes.extend(changes_in_words(runs));
    let each = if runs.all.len() == 1 { "One chart per width" } else { "One chart per width and run" };
    Ok(Figure {
        panels,
        key: Vec::new(),
        reading: format!(
            "{each}, each with a linear axis of its own: the losses of sub-networks include \
             distillation and can be ten times the full network’s, so compare courses, not heights.{}",
            smoothing_in_words(longest_window)
        ),
        notes,
        lacking,
    })
}

/// The loss of a width over training.
struct LossCourse {
    content: Result<Drawing, Missing>,
    /// Steps without a loss that can be drawn.
    gaps: u64,
    /// Of the running mean.
    window: usize,
}

/// That of the width at `place` among the record's.
fn loss_course(runs: &Runs, record: &Record, place: usize, id: &str) -> LossCourse {
    let (x, unit) = training_axis(runs.taken());
    let trained = |step: &&&Step| place == 0 || record.trained_all(step.step);
    let points: Vec<(f64, f64)> = record
        .steps
        .iter()
        .filter(trained)
        .filter_map(|step| Some((step.step as f64 / unit, *step.losses.get(place)?)))
        .collect();
    let gaps = points.iter().filter(|(_, loss)| !loss.is_finite()).count() as u64;
    let Some(y) = Scale::linear(points.iter().map(|(_, loss)| *loss)) else {
        let end = record.end_of_slow_start();
        let reason = if points.is_empty() && record.taken <= end {
            format!("Not trained yet: slow start ends at step {}.", count(end))
        } else {
            "No loss that can be drawn.".into()
        };
        return LossCourse { content: Err(reason), gaps, window: 1 };
    };
    let value = record.widths()[place];
    let mut chart = Chart::new(PANEL, x, Axis { title: loss_title(record, place).into(), scale: y });
    mark_turns(&mut chart, record, unit);
    let turns: Vec<f64> = record.turns().into_iter().map(|step| step as f64 / unit).collect();
    let (_, window) = trace(&mut chart, &points, &turns, &format!("w{}", runs.index(value)));
    let described = match points.as_slice() {
        [first, .., last] => format!("From {:.3} to {:.3}.", first.1, last.1),
        _ => "A single step.".into(),
    };
    let title = format!("Loss of width {} over training", width(value));
    LossCourse { content: Ok(chart.drawing(id, &title, &described)), gaps, window }
}

/// Cross-entropies and divergences are in nats; a squared error has no unit, and neither has a sum with one.
fn loss_title(record: &Record, index: usize) -> &'static str {
    match record.config.distill {
        Distillation::MseEmbeddings | Distillation::MseLogits if index > 0 => "Weighted loss",
        _ => "Weighted loss (nats)",
    }
}

/// The points that stand for `widths`.
pub fn key_of_widths(widths: &[f64]) -> Vec<Key> {
    widths.iter().enumerate().map(|(index, value)| Key::new(Mark::Width(index), width(*value))).collect()
}
