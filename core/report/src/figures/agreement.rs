//! Agreement between the widths' gradients: cosines and conflict rates.

use slimclr_run::{
    event::Interference,
    interference::agreement::{Agreement, Pairs},
};

use crate::{
    figures::MEASURE,
    plot::{
        axes::Axis,
        colour,
        figure::{Figure, Missing, Panel},
        frame::PANEL_LABELLED,
        legend::{LegendItem, Symbol, widths_legend},
        matrix::{self, Pair},
        scale::Scale,
        training_curve::{Curve, CurvePanels, Curves, omitted, smoothing_note},
    },
    runs::{Run, Runs},
    text::width,
};

/// Returns the measurements of `run` at which all widths were trained.
fn of_all_widths<'r>(run: &'r Run) -> impl Iterator<Item = &'r Interference> {
    run.history.interference.iter().copied().filter(|at| run.history.trained_all(at.step))
}

/// Returns the value of a pair, or `None` if it is missing, NaN or infinite.
fn value(pairs: &Pairs, row: usize, column: usize) -> Option<f64> {
    pairs.get(row)?.get(column).copied().flatten().filter(|value| value.is_finite())
}

/// Returns the means of a pair over those measurements that have it.
fn mean(measured: &[&Agreement], row: usize, column: usize) -> Pair {
    let mean = |pairs: fn(&Agreement) -> &Pairs| {
        let values = || measured.iter().filter_map(|agreement| value(pairs(agreement), row, column));
        let count = values().count();
        (count > 0).then(|| values().sum::<f64>() / count as f64)
    };
    Pair { cosine: mean(|agreement| &agreement.cosines), conflict: mean(|agreement| &agreement.conflicts) }
}

const NOT_MEASURED: &str = "no cosines between gradients of widths are recorded";

/// Returns why no run has cosines.
fn why_not_measured(runs: &Runs) -> String {
    let single = runs.all.iter().all(|run| run.history.widths().len() < 2);
    let measures = runs.all.iter().any(|run| !run.history.interference.is_empty());
    match (single, measures) {
        (true, _) => format!("{NOT_MEASURED}, because there is only one width"),
        (false, true) => format!("{NOT_MEASURED}: sub-networks are not trained before slow start ends"),
        (false, false) => format!("{NOT_MEASURED}; {MEASURE}"),
    }
}

/// Draws the mean cosine and conflict rate of each pair of widths, for all layers and for each stage.
///
/// # Errors
/// If no cosines are recorded.
pub fn agreement_matrices(runs: &Runs) -> Result<Figure, Missing> {
    let mut panels = Vec::new();
    let mut drawn = Vec::new();
    let mut incomplete = false;
    for run in &runs.all {
        let overall: Vec<&Agreement> = of_all_widths(run).map(|at| &at.agreement).collect();
        let mut parts = vec![("all layers".to_owned(), overall)];
        for (stage, agreement) in
            of_all_widths(run).flat_map(|at| &at.stages).map(|stage| (&stage.stage, &stage.agreement))
        {
            match parts.iter_mut().skip(1).find(|(name, _)| name == stage) {
                Some((_, of_stage)) => of_stage.push(agreement),
                None => parts.push((stage.clone(), vec![agreement])),
            }
        }
        let names: Vec<String> = run.history.widths().iter().copied().map(width).collect();
        let pairs = || (1..names.len()).flat_map(|row| (0..row).map(move |column| (row, column)));
        let is_measured = |agreements: &[&Agreement], (row, column)| mean(agreements, row, column).cosine.is_some();
        parts.retain(|(_, agreements)| pairs().any(|pair| is_measured(agreements, pair)));
        incomplete |= parts.iter().any(|(_, agreements)| pairs().any(|pair| !is_measured(agreements, pair)));
        if !parts.is_empty() {
            drawn.push(run.name);
        }
        for (name, agreements) in parts {
            let title = format!("Cosines between the widths’ gradients, {name}");
            let drawing = matrix::draw(&format!("cosines-{}", panels.len()), &title, &names, |row, column| {
                mean(&agreements, row, column)
            });
            panels.push(Panel::new(runs.label(run), name, Ok(drawing)));
        }
    }
    if panels.is_empty() {
        return Err(runs.all_omitted(&why_not_measured(runs)));
    }
    let mut legend: Vec<LegendItem> = [(-1.0, "−1: opposite"), (0.0, "0: orthogonal"), (1.0, "1: same direction")]
        .map(|(value, label)| LegendItem::new(Symbol::Cell(colour::diverging(value).0), label))
        .into();
    legend.push(LegendItem::new(Symbol::Negative, "below 0"));
    if incomplete {
        legend.push(LegendItem::new(Symbol::NoValue, "not measured"));
    }
    Ok(Figure {
        panels,
        legend,
        caption: "Each cell shows the cosine between two widths’ gradients on the weights that both use, averaged \
                  after slow start, and under it the conflict rate: the percentage of weight tensors with a negative \
                  cosine. Near 1, the widths help each other; below 0, each undoes part of what the other learns."
            .into(),
        notes: Vec::new(),
        omitted: runs.omitted(|run| drawn.contains(&run.name), NOT_MEASURED),
    })
}

/// Returns `scale` times the values of `pairs` for the full network and each sub-network, one curve for each
/// sub-network.
fn with_full_network<'r, 'a>(runs: &'r Runs<'a>, pairs: fn(&Agreement) -> &Pairs, scale: f64) -> Vec<Curves<'r, 'a>> {
    let of_run = |run: &'r Run<'a>| {
        let curves = run.history.widths().iter().enumerate().skip(1).map(|(index, sub)| {
            let measured =
                of_all_widths(run).filter_map(|at| Some((at.step as f64, value(pairs(&at.agreement), index, 0)?)));
            Curve {
                name: width(*sub),
                class: format!("w{}", runs.index(*sub)),
                points: measured.map(|(step, value)| (step, scale * value)).collect(),
            }
        });
        Curves { run, heading: String::new(), curves: curves.collect() }
    };
    runs.all.iter().map(of_run).filter(|curves| curves.values().next().is_some()).collect()
}

/// Draws the cosine and the conflict rate of each sub-network and the full network over training.
///
/// # Errors
/// If no cosines are recorded.
pub fn agreement_over_training(runs: &Runs) -> Result<Figure, Missing> {
    let cosines = with_full_network(runs, |agreement| &agreement.cosines, 1.0);
    let conflicts = with_full_network(runs, |agreement| &agreement.conflicts, 100.0);
    let mut panels = Vec::new();
    let mut longest = 1;
    let measures = [
        ("cosines-over-training", "Cosine with the full network’s gradient", "Cosine", &cosines),
        (
            "conflicts-over-training",
            "Conflict rate with the full network’s gradient",
            "Tensors in conflict (%)",
            &conflicts,
        ),
    ];
    for (id, title, axis, curves) in measures {
        // The axis includes 0, which separates agreement from conflict.
        let scale = Scale::linear(curves.iter().flat_map(Curves::values).chain([0.0]));
        let Some(scale) = scale.filter(|_| !curves.is_empty()) else { continue };
        let of_measure = CurvePanels { id, title, frame: PANEL_LABELLED, y: Axis { title: axis.into(), scale } };
        let (of_measure, window) = of_measure.draw(runs, curves);
        longest = longest.max(window);
        // Grouped by measure, so that runs are compared side by side.
        panels.extend(of_measure.into_iter().map(|panel| Panel { heading: panel.group, group: title.into(), ..panel }));
    }
    if panels.is_empty() {
        return Err(runs.all_omitted(&why_not_measured(runs)));
    }
    Ok(Figure {
        panels,
        legend: widths_legend(&runs.widths).into_iter().skip(1).collect(),
        caption: format!(
            "The same two measures for each sub-network and the full network, over training. Look for cosines that \
             fall below 0, and for conflict rates that rise.{}",
            smoothing_note(longest)
        ),
        notes: Vec::new(),
        omitted: omitted(runs, &cosines, NOT_MEASURED),
    })
}
