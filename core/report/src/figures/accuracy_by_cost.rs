//! Accuracy of each width against its cost.

use slimclr_run::event::Evaluated;

use crate::{
    figures::{accuracy::Accuracy, learned_nothing},
    history::RunHistory,
    plot::{
        axes::Axis,
        chart::Chart,
        drawing::Drawing,
        figure::{Figure, Missing},
        frame::WIDE_LONG_LABELS,
        legend::{LegendItem, Symbol, widths_legend},
        marks::Shape,
        scale::Scale,
    },
    text::{compact, width},
};

/// Draws the kNN accuracy of each width before and after training, against multiply-accumulates.
///
/// # Errors
/// If no width was evaluated.
pub fn accuracy_by_cost<'a>(history: &RunHistory<'a>) -> Result<Figure, Missing> {
    let line = |name, class, evaluation: fn(&RunHistory<'a>, f64) -> Option<&'a Evaluated>| {
        Line::new(history, name, class, |width| evaluation(history, width).and_then(Accuracy::knn))
    };
    let lines = [line("before", "hollow", RunHistory::before), line("after", "filled", RunHistory::after)];
    let names =
        Names { id: "accuracy-by-cost", title: "Accuracy against cost", measure: "kNN accuracy", line: "training" };
    let (chart, legend) =
        against_cost(history, &names, &lines).ok_or("No width was evaluated, so there is no accuracy to draw.")?;
    let [before, after] = lines.each_ref().map(|line| !line.points.is_empty());
    let mut figure = Figure::single(
        chart,
        legend,
        "Look at the gap between the two lines: it is what each width gained from training. Bars show ± one standard \
         error; the x axis is logarithmic.",
    );
    let both = |width: &f64| history.before(*width).zip(history.after(*width));
    figure.notes.extend(
        history.config.widths.iter().filter_map(both).filter_map(|(before, after)| learned_nothing(before, after)),
    );
    if !after {
        figure.notes.push("No evaluation after training is recorded.".into());
    } else if !before {
        figure.notes.push("No evaluation before training is recorded.".into());
    }
    Ok(figure)
}

/// Draws the accuracy of each width's linear probes, switchable and slimmable, against multiply-accumulates.
///
/// # Errors
/// If no linear probe was trained.
pub fn probes_by_cost(history: &RunHistory) -> Result<Figure, Missing> {
    let line = |name, class, top1: fn(&Evaluated) -> Option<f64>| {
        let accuracy = |fraction| Accuracy { fraction, standard_error: None };
        Line::new(history, name, class, |width| history.after(width).and_then(top1).map(accuracy))
    };
    let lines = [line("switchable", "filled", |e| e.probe), line("slimmable", "hollow", |e| e.probe_slimmable)];
    let names =
        Names { id: "probes-by-cost", title: "Linear probes against cost", measure: "Top-1 accuracy", line: "probe" };
    let (chart, legend) = against_cost(history, &names, &lines)
        .ok_or("No linear probe was trained; “slimclr evaluate” trains both kinds.")?;
    Ok(Figure::single(
        chart,
        legend,
        "The switchable probe has a separate layer for each width; the slimmable probe has one layer, of which each \
         width uses a slice. The gap between the two is the cost of sharing the layer (appendix A of the paper).",
    ))
}

/// Names of a figure and its parts.
struct Names {
    id: &'static str,
    title: &'static str,
    /// The kind of accuracy.
    measure: &'static str,
    /// The noun after the lines' names.
    line: &'static str,
}

/// The accuracies of all widths.
struct Line {
    name: &'static str,
    class: &'static str,
    points: Vec<Point>,
}

/// The accuracy and the cost of one width.
struct Point {
    index: usize,
    width: f64,
    macs: u64,
    accuracy: Accuracy,
}

impl Line {
    /// A line through the widths that have a known cost and a finite accuracy.
    fn new(
        history: &RunHistory,
        name: &'static str,
        class: &'static str,
        accuracy: impl Fn(f64) -> Option<Accuracy>,
    ) -> Self {
        let point = |(index, width): (usize, &f64)| {
            let macs = history.started.profile.iter().find(|profile| profile.width == *width)?.macs;
            let accuracy = accuracy(*width).filter(|accuracy| accuracy.fraction.is_finite())?;
            Some(Point { index, width: *width, macs, accuracy })
        };
        Self { name, class, points: history.widths().iter().enumerate().filter_map(point).collect() }
    }
}

/// Draws `lines`, with their legend; `None` if they have no points.
fn against_cost(history: &RunHistory, names: &Names, lines: &[Line]) -> Option<(Drawing, Vec<LegendItem>)> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (unit, unit_name) = match points().map(|point| point.macs).max()? {
        1_000_000_000.. => (1e9, "billions"),
        1_000_000.. => (1e6, "millions"),
        _ => (1e3, "thousands"),
    };
    let coordinates = |point: &Point| (point.macs as f64 / unit, 100.0 * point.accuracy.fraction);
    let x = Scale::logarithmic(points().map(|point| coordinates(point).0))?;
    let y = Scale::linear(points().flat_map(|point| point.accuracy.interval()))?;
    let mut chart = Chart::new(
        WIDE_LONG_LABELS,
        Axis { title: format!("Multiply-accumulates per image ({unit_name})"), scale: x },
        Axis { title: format!("{} (%)", names.measure), scale: y },
    );
    let mut legend = widths_legend(history.widths());
    let mut description = format!("{} against multiply-accumulates.", names.measure);
    for Line { name, class, points } in lines {
        let places: Vec<(f64, f64)> = points.iter().map(coordinates).collect();
        chart.line(&places, &format!("plain {class}"));
        for (point, at) in points.iter().zip(&places) {
            let (width, macs, accuracy) = (width(point.width), compact(point.macs), point.accuracy.text());
            let class = format!("w{} {class}", point.index);
            if point.accuracy.standard_error.is_some() {
                chart.error_bar(at.0, point.accuracy.interval(), &class);
            }
            let tooltip = format!("width {width}, {macs} MACs, {name}: {accuracy} %");
            chart.point(*at, Shape::of(point.index), &class, &tooltip);
            description += &format!(" Width {width}, {name} {}: {accuracy} % at {macs} MACs.", names.line);
        }
        if let Some(end) = places.iter().max_by(|a, b| a.0.total_cmp(&b.0)) {
            chart.end_label(*end, name, "plain");
            let line = if *class == "hollow" { "plain hollow" } else { "plain filled" };
            legend.push(LegendItem::new(Symbol::Line(line), format!("{name} {} ({class})", names.line)));
        }
    }
    // Above a width's highest point only, because labels of lines close together would cover each other.
    for (index, value) in history.widths().iter().enumerate() {
        let of_width = points().filter(|point| point.index == index);
        if let Some(highest) = of_width.max_by(|a, b| a.accuracy.fraction.total_cmp(&b.accuracy.fraction)) {
            let at = (coordinates(highest).0, highest.accuracy.interval()[1]);
            chart.label_above(at, &width(*value), &format!("w{index}"));
        }
    }
    Some((chart.drawing(names.id, names.title, &description), legend))
}
