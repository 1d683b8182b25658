//! The figures: what each shows of a run, and how to read it.

use slimclr_core::{
    event::{Evaluated, Step},
    interference::magnitude::GradientNorms,
    loss::distill::Distillation,
};

use super::{
    chart::{Axis, Chart, LINE_POINTS, NAMED, PANEL, Scale, Shape, WIDE},
    record::Record,
    text::{compact, count, escape, percent, plural, width},
};

/// Charts with the words that belong to them.
#[derive(Debug)]
pub struct Figure {
    /// The charts, as HTML.
    pub charts: Vec<String>,
    /// Lines of the legend, as HTML.
    pub key: Vec<String>,
    /// How to read the figure.
    pub reading: String,
    /// What is not drawn, or needs to be known beside.
    pub notes: Vec<String>,
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
    Ok(Figure {
        charts: vec![chart],
        key,
        reading: "Higher is more accurate, further left is cheaper (logarithmic axis); the gap between the two \
                  lines is what training gave each width, and bars show ± one standard error."
            .into(),
        notes: if !after {
            vec!["No evaluation after training is recorded.".into()]
        } else if !before {
            vec!["No evaluation before training is recorded.".into()]
        } else {
            Vec::new()
        },
    })
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
    Ok(Figure {
        charts: vec![chart],
        key,
        reading: "The switchable probe has a layer for each width, the slimmable one a single layer, of which each \
                  width uses its slice. The gap between the two is what sharing the layer costs: a slice of the best \
                  layer for all features would be the best for its own only if the others were orthogonal to them \
                  (the paper’s appendix A)."
            .into(),
        notes: Vec::new(),
    })
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
fn against_cost(record: &Record, names: &Names, lines: &[Line]) -> Option<(String, Vec<String>)> {
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
    let mut key = key_of_widths(record);
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
            key.push(format!(
                r#"<li class="plain"><span class="swatch rule {class}"></span>{name} {}, {class}</li>"#,
                names.line
            ));
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
    Some((chart.svg(names.id, names.title, &description), key))
}

/// Accuracy of each width at every evaluation.
pub fn accuracy_over_training(record: &Record) -> Result<Figure, Missing> {
    let evaluations: Vec<Vec<&Evaluated>> = record
        .widths()
        .iter()
        .map(|width| {
            let all = record.evaluations(*width).into_iter();
            all.filter(|evaluated| evaluated.knn.is_finite()).collect()
        })
        .collect();
    let y = Scale::linear(evaluations.iter().flatten().flat_map(|evaluated| Accuracy::knn(evaluated).interval()));
    let (Some(y), true) = (y, evaluations.iter().any(|all| all.len() >= 2)) else {
        return Err("No width was evaluated more than once, so there is no course to draw.".into());
    };
    let (x, unit) = training_axis(record);
    let mut chart = Chart::new(WIDE, x, Axis { title: "kNN accuracy (%)".into(), scale: y });
    mark_slow_start(&mut chart, record, unit);
    let mut description = String::from("kNN accuracy over training steps.");
    for (index, all) in evaluations.iter().enumerate() {
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
    Ok(Figure {
        charts: vec![chart.svg("accuracy-over-training", "Accuracy over training", &description)],
        key: key_of_widths(record),
        reading: "Each point is one evaluation with ± one standard error; step 0 is the untrained network.".into(),
        notes: Vec::new(),
    })
}

/// Each width's loss, on an axis of its own.
pub fn losses(record: &Record) -> Result<Figure, Missing> {
    if record.steps.is_empty() {
        return Err("No training step is recorded, so there are no losses.".into());
    }
    let mut notes = Vec::new();
    let mut charts = Vec::new();
    let mut longest_window = 1;
    for (index, value) in record.widths().iter().enumerate() {
        let name = width(*value);
        let (x, unit) = training_axis(record);
        let trained = |step: &&&Step| index == 0 || step.step > record.started.slow_start_step;
        let points: Vec<(f64, f64)> = record
            .steps
            .iter()
            .filter(trained)
            .filter_map(|step| Some((step.step as f64 / unit, *step.losses.get(index)?)))
            .collect();
        let mark = swatch(index);
        let heading = format!(r#"<h3 class="w{index}">{mark}Width {name}</h3>"#);
        let unreal = points.iter().filter(|(_, loss)| !loss.is_finite()).count() as u64;
        if unreal > 0 {
            let steps = plural(unreal, "step");
            notes.push(format!("Width {name} has no finite loss at {steps}; its line breaks there."));
        }
        let Some(y) = Scale::linear(points.iter().map(|(_, loss)| *loss)) else {
            let reason = if points.is_empty() && record.taken <= record.started.slow_start_step {
                format!("Not trained yet: slow start ends at step {}.", count(record.started.slow_start_step))
            } else {
                "No loss that can be drawn.".into()
            };
            charts.push(format!(r#"<div>{heading}<p class="missing">{reason}</p></div>"#));
            continue;
        };
        let mut chart = Chart::new(PANEL, x, Axis { title: loss_title(record, index).into(), scale: y });
        mark_slow_start(&mut chart, record, unit);
        let turn = record.started.slow_start_step as f64 / unit;
        let (_, window) = trace(&mut chart, &points, turn, &format!("w{index}"));
        longest_window = longest_window.max(window);
        let described = match points.as_slice() {
            [first, .., last] => format!("From {:.3} to {:.3}.", first.1, last.1),
            _ => "A single step.".into(),
        };
        let title = format!("Loss of width {name} over training");
        charts.push(format!("<div>{heading}{}</div>", chart.svg(&format!("loss-{index}"), &title, &described)));
    }
    Ok(Figure {
        charts,
        key: Vec::new(),
        reading: format!(
            "One chart per width, each with a linear axis of its own: the losses of sub-networks include \
             distillation and can be ten times the full network’s, so compare courses, not heights.{}",
            smoothing_in_words(longest_window)
        ),
        notes,
    })
}

/// Cross-entropies and divergences are in nats; a squared error has no unit, and neither has a sum with one.
fn loss_title(record: &Record, index: usize) -> &'static str {
    match record.started.config.distill {
        Distillation::MseEmbeddings | Distillation::MseLogits if index > 0 => "Weighted loss",
        _ => "Weighted loss (nats)",
    }
}

/// A line over training with its name and its look.
#[derive(Debug)]
struct Series {
    name: String,
    class: String,
    points: Vec<(f64, f64)>,
}

/// Gradient norms of the widths and of what the full network has beyond the narrowest (paper figure 3).
pub fn gradient_norms(record: &Record) -> Result<Figure, Missing> {
    let widths = record.widths();
    let (x, unit) = training_axis(record);
    let over_training = |norm: &dyn Fn(&GradientNorms) -> Option<f64>| {
        let measured = record.interference.iter();
        measured.filter_map(|at| Some((at.step as f64 / unit, norm(&at.gradient)?))).collect()
    };
    let mut series: Vec<Series> = widths
        .iter()
        .enumerate()
        .map(|(index, value)| Series {
            name: width(*value),
            class: format!("w{index}"),
            points: over_training(&|norms| norms.norms.get(index).copied()),
        })
        .collect();
    if widths.len() > 1 {
        series.push(Series {
            name: "rest".into(),
            class: "plain dashed".into(),
            points: over_training(&|norms| Some(norms.rest)),
        });
    }
    let values = || series.iter().flat_map(|series| &series.points).map(|(_, norm)| *norm);
    let Some(y) = Scale::logarithmic(values()) else {
        return Err("No gradient norms are recorded.".into());
    };
    let mut chart = Chart::new(WIDE, x, Axis { title: "Mean gradient norm (l2)".into(), scale: y });
    mark_slow_start(&mut chart, record, unit);
    let mut longest_window = 1;
    let mut description = String::from("Mean gradient norms over training steps.");
    for Series { name, class, points } in &series {
        let turn = record.started.slow_start_step as f64 / unit;
        let (strong, window) = trace(&mut chart, points, turn, class);
        longest_window = longest_window.max(window);
        let drawn = |(_, norm): &&(f64, f64)| norm.is_finite() && *norm > 0.0;
        if let (Some(first), Some(last)) = (strong.iter().find(drawn), strong.iter().rfind(drawn)) {
            chart.label_end(*last, name, class);
            description += &format!(" {name}: from {:.3e} to {:.3e}.", first.1, last.1);
        }
    }
    let undrawn = values().filter(|norm| !norm.is_finite() || *norm <= 0.0).count() as u64;
    let mut key = key_of_widths(record);
    let mut reading = String::from(
        "How strongly training pulls on the weights that each width uses: the l2 norm of the gradient’s \
         slice, averaged over convolution and linear weights, on a logarithmic axis, so that equal distances \
         are equal ratios.",
    );
    if let (Some(narrowest), true) = (widths.last(), widths.len() > 1) {
        let narrowest = width(*narrowest);
        key.push(format!(
            r#"<li class="plain"><span class="swatch rule dashed"></span>
rest, θ<sub>1.0∖{narrowest}</sub></li>"#
        ));
        reading += &format!(
            " Where {narrowest} lies above the rest (what the full network has beyond it), \
             a minority of the weights takes most of the gradient: the imbalance of the paper’s figure 3."
        );
    }
    reading += &smoothing_in_words(longest_window);
    Ok(Figure {
        charts: vec![chart.svg("gradient-norms", "Gradient norms over training", &description)],
        key,
        reading,
        notes: if undrawn == 0 {
            Vec::new()
        } else {
            vec![format!("{} without a logarithm (zero or not finite): not drawn.", plural(undrawn, "norm"))]
        },
    })
}

/// The axis of training steps, and how many steps its unit has.
fn training_axis(record: &Record) -> (Axis, f64) {
    let (unit, title) = match record.taken {
        20_000.. => (1e3, "Training step (thousands)"),
        _ => (1.0, "Training step"),
    };
    let scale = Scale::up_to(record.taken.max(1) as f64 / unit);
    (Axis { title: title.into(), scale }, unit)
}

fn mark_slow_start(chart: &mut Chart, record: &Record, unit: f64) {
    if let Some(step) = record.slow_start_end() {
        chart.vertical(step as f64 / unit, "slow start ends");
    }
}

/// Draws `points` faintly and their running mean over them; only themselves where they are few. Returns
/// what was drawn strongly, and the window of the mean, which does not reach across `turn`.
fn trace(chart: &mut Chart, points: &[(f64, f64)], turn: f64, class: &str) -> (Vec<(f64, f64)>, usize) {
    let window = window(points.len());
    if window > 1 {
        chart.line(points, &format!("{class} faint"));
    }
    let (before, after) = points.split_at(points.partition_point(|(x, _)| *x <= turn));
    let parts = [before, after].map(|part| running_mean(part, window));
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

fn smoothing_in_words(window: usize) -> String {
    if window > 1 {
        format!(" Faint lines are single steps, strong ones running means over {window} reported steps.")
    } else {
        String::new()
    }
}

/// The point that stands for a width.
pub fn swatch(index: usize) -> String {
    format!(
        r#"<svg class="swatch w{index}" viewBox="-6 -6 12 12" aria-hidden="true"><path d="M0,0{}"/></svg>"#,
        Shape::of(index).outline()
    )
}

fn key_of_widths(record: &Record) -> Vec<String> {
    record
        .widths()
        .iter()
        .enumerate()
        .map(|(index, value)| format!("<li>{}{}</li>", swatch(index), escape(&width(*value))))
        .collect()
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
