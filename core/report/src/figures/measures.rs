//! Measures that need no labels, of each width over training.

use slimclr_run::event::Evaluated;

use crate::{
    plot::{
        axes::Axis,
        chart::Chart,
        drawing::Drawing,
        figure::{Figure, Missing, Panel},
        frame::PANEL_LABELLED,
        legend::widths_legend,
        marks::Shape,
        scale::{Scale, drawable},
        training_curve::{changes_note, mark_changes, training_axis},
    },
    runs::{Run, Runs},
    text::{count, sentence, width},
};

/// A measure, and how it is drawn.
struct Measure {
    /// What it measures.
    title: &'static str,
    /// The title of its axis.
    axis: &'static str,
    /// Its value in an evaluation, if it was measured.
    value: fn(&Evaluated) -> Option<f64>,
    /// The number of its axis; measures of one number are drawn on the same scale.
    scale: usize,
    /// Decimals of its values.
    decimals: usize,
}

/// Alignment is left out: it is 2 - 2 times the cosine of views of one image.
const MEASURES: [Measure; 5] = [
    Measure { title: "Effective rank of the features", axis: "RankMe", value: |it| it.rankme, scale: 0, decimals: 2 },
    Measure {
        title: "Spread of the embeddings",
        axis: "Mean standard deviation",
        value: |it| it.views?.spread,
        scale: 3,
        decimals: 4,
    },
    Measure {
        title: "Uniformity of the embeddings",
        axis: "Uniformity",
        value: |it| Some(it.views?.uniformity),
        scale: 1,
        decimals: 2,
    },
    Measure {
        title: "Cosine of two views of one image",
        axis: "Mean cosine",
        value: |it| Some(it.views?.cosine_same_image),
        scale: 2,
        decimals: 2,
    },
    Measure {
        title: "Cosine of views of different images",
        axis: "Mean cosine",
        value: |it| Some(it.views?.cosine_different_images),
        scale: 2,
        decimals: 2,
    },
];

/// A value and the step of its evaluation.
type Point = (u64, f64);

/// Draws RankMe, spread, uniformity and the mean cosines of each width at every evaluation.
///
/// # Errors
/// If nothing was measured at least twice.
pub fn measures_over_training(runs: &Runs) -> Result<Figure, Missing> {
    const TOO_FEW: &str = "measures without labels were not recorded more than once";
    let is_drawn = |run: &Run| MEASURES.iter().any(|measure| is_curve(&points(run, measure)));
    let omitted = runs.omitted(is_drawn, TOO_FEW);
    let scale = |number: usize| {
        let measures = MEASURES.iter().filter(|measure| measure.scale == number);
        let points = measures.flat_map(|measure| runs.all.iter().flat_map(|run| points(run, measure)));
        Scale::linear(points.flatten().map(|(_, value)| value))
    };
    let mut panels = Vec::new();
    for measure in &MEASURES {
        // Grouped by measure, so that runs are compared side by side.
        for run in &runs.all {
            let (Some(scale), points) = (scale(measure.scale), points(run, measure)) else { continue };
            if is_curve(&points) {
                let (x, unit) = training_axis(runs.steps_taken());
                let chart = Chart::new(PANEL_LABELLED, x, Axis { title: measure.axis.into(), scale });
                let id = format!("measures-{}", panels.len());
                let label = runs.label(run);
                let (group, heading) =
                    if label.is_empty() { (label, measure.title.into()) } else { (measure.title.into(), label) };
                panels.push(Panel::new(group, heading, Ok(curves(chart, runs, run, (measure, &points), unit, &id))));
            }
        }
    }
    if panels.is_empty() {
        return Err(omitted.unwrap_or_else(|| sentence(TOO_FEW)));
    }
    Ok(Figure {
        panels,
        legend: widths_legend(&runs.widths),
        caption: "Each point is one evaluation; step 0 is before training. Training should raise the effective \
                  rank, spread the embeddings (at most 1/√d in d dimensions), lower the uniformity towards -4 and the \
                  cosine of different images towards 0, and keep that of one image close to 1. If the embeddings \
                  collapse, the rank falls towards 1, the spread to 0, the uniformity rises to 0 and both cosines rise \
                  to 1."
            .into(),
        notes: changes_note(runs).into_iter().collect(),
        omitted,
    })
}

/// Returns a measure's drawable values, for each width.
fn points(run: &Run, measure: &Measure) -> Vec<Vec<Point>> {
    let of_width = |width: &f64| {
        let all = run.history.evaluations(*width).into_iter();
        let point = |evaluated: &Evaluated| Some((evaluated.step, (measure.value)(evaluated)?));
        all.filter_map(point).filter(|(_, value)| drawable(*value)).collect()
    };
    run.history.widths().iter().map(of_width).collect()
}

fn is_curve(points: &[Vec<Point>]) -> bool {
    points.iter().any(|of_width| of_width.len() >= 2)
}

/// Draws one curve for each width of `run`.
fn curves(
    mut chart: Chart,
    runs: &Runs,
    run: &Run,
    (measure, points): (&Measure, &[Vec<Point>]),
    unit: f64,
    id: &str,
) -> Drawing {
    mark_changes(&mut chart, &run.history, unit);
    let (mut description, decimals) = (String::new(), measure.decimals);
    for (value, of_width) in run.history.widths().iter().zip(points) {
        let (index, name) = (runs.index(*value), width(*value));
        let class = format!("w{index} filled");
        let at = |(step, value): &Point| (*step as f64 / unit, *value);
        chart.line(&of_width.iter().map(at).collect::<Vec<_>>(), &class);
        for point in of_width {
            let (step, value) = point;
            let tooltip = format!("width {name}, step {}: {value:.decimals$}", count(*step));
            chart.point(at(point), Shape::of(index), &class, &tooltip);
        }
        if let [first, .., last] = of_width.as_slice() {
            chart.end_label(at(last), &name, &class);
            description += &format!("Width {name}: from {:.decimals$} to {:.decimals$}. ", first.1, last.1);
        }
    }
    chart.drawing(id, &format!("{}, over training", measure.title), description.trim_end())
}
