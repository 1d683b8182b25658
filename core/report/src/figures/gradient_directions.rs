//! Directions of the last linear layers' gradients (paper figure 4).

use slimclr_run::interference::path::{GradientPath, gradient_path};

use crate::{
    figures::{MEASURE, is_positive},
    plot::{
        axes::Axis,
        chart::Chart,
        colour::PATH_SHADES,
        drawing::Drawing,
        figure::{Figure, Missing, Panel},
        frame::{PANEL_LABELLED, SQUARE},
        legend::{LegendItem, Symbol},
        scale::Scale,
        training_curve::{Curve, CurvePanels, Curves, omitted, over_training, smoothing_note},
    },
    runs::{Run, Runs, distinct},
    text::{count, percent},
};

/// Returns the names of the last layers that `run` has measured.
fn layers(run: &Run) -> Vec<String> {
    let measured = run.history.interference.iter().map(|at| &at.last_layers);
    distinct(measured.flat_map(|at| at.singular_values.keys().chain(at.products.keys())).cloned())
}

/// Draws the two largest singular values of the last linear layers' gradients.
///
/// # Errors
/// If no positive singular value is recorded.
pub fn singular_values(runs: &Runs) -> Result<Figure, Missing> {
    let not_measured = format!("no singular values of gradients are recorded; {MEASURE}");
    let of_run = |run| {
        layers(run).into_iter().map(move |layer| {
            let curve = |index: usize, name: &str, class: &str| Curve {
                name: name.into(),
                class: class.into(),
                points: over_training(run, |at| Some(at.last_layers.singular_values.get(&layer)?[index])),
            };
            let curves = vec![curve(0, "σ₁", "plain"), curve(1, "σ₂", "plain dashed")];
            Curves { run, heading: layer, curves }
        })
    };
    let curves: Vec<Curves> =
        runs.all.iter().flat_map(of_run).filter(|curves| curves.values().any(is_positive)).collect();
    let scale = Scale::logarithmic(curves.iter().flat_map(Curves::values));
    let scale = scale.ok_or_else(|| runs.all_omitted(&not_measured))?;
    let panels = CurvePanels {
        id: "singular-values",
        title: "Singular values over training",
        frame: PANEL_LABELLED,
        y: Axis { title: "Singular value".into(), scale },
    };
    let (panels, window) = panels.draw(runs, &curves);
    Ok(Figure {
        panels,
        legend: vec![
            LegendItem::new(Symbol::Line("plain"), "largest singular value, σ₁"),
            LegendItem::new(Symbol::Line("plain dashed"), "second largest, σ₂"),
        ],
        caption: format!(
            "The two largest singular values of each last linear layer’s gradient (logarithmic axis). The further σ₁ \
             is above σ₂, the closer the gradient is to a single direction.{}",
            smoothing_note(window)
        ),
        notes: Vec::new(),
        omitted: omitted(runs, &curves, &not_measured),
    })
}

/// Draws the paths of the last linear layers' gradients in the plane of their two principal components.
///
/// # Errors
/// If no layer has two measured gradients.
pub fn gradient_paths(runs: &Runs) -> Result<Figure, Missing> {
    let too_few = format!("fewer than two gradients of last layers are recorded; {MEASURE}");
    let mut panels = Vec::new();
    let mut drawn = Vec::new();
    for run in &runs.all {
        for layer in layers(run) {
            let path = gradient_path(&run.history.interference, &layer, run.history.end_of_transient());
            let drawing = path.and_then(|path| draw(&path, &format!("gradient-path-{}", panels.len())));
            if let Some(drawing) = drawing {
                drawn.push(run.name);
                panels.push(Panel::new(runs.label(run), layer, Ok(drawing)));
            }
        }
    }
    if panels.is_empty() {
        return Err(runs.all_omitted(&too_few));
    }
    Ok(Figure {
        panels,
        legend: vec![
            LegendItem::new(Symbol::Start, "first measurement"),
            LegendItem::new(Symbol::Finish, "last measurement"),
        ],
        caption:
            "The same gradients, projected onto their first two principal components; the dotted lines mark zero. \
                  A path along one axis has a consistent direction, a path across both axes has none."
                .into(),
        notes: vec![
            "The first 5 % of the run is left out: its gradients are much larger and would dominate the components."
                .into(),
        ],
        omitted: runs.omitted(|run| drawn.contains(&run.name), &too_few),
    })
}

fn draw(path: &GradientPath, id: &str) -> Option<Drawing> {
    let scales = Scale::equal_aspect(&path.points)?;
    let mut chart = Chart::plane(SQUARE, scales, "Component", path.explained);
    chart.zero_lines();
    let points: Vec<(f64, f64)> = path.points.iter().map(|[x, y]| (*x, *y)).collect();
    chart.shaded_path(&points);
    let (first, last) = (*path.steps.first()? as f64, *path.steps.last()? as f64);
    if first < last {
        let shades: Vec<String> = (0..PATH_SHADES).map(|n| format!(r#"class="t{n}" fill="currentColor""#)).collect();
        chart.colour_bar(&Axis { title: "Training step".into(), scale: Scale::exact(first, last) }, &shades);
    }
    let [one, other] = path.explained.map(percent);
    let description = format!(
        "{} measurements from step {} to step {}; the components explain {one} % and {other} % of the variance.",
        path.steps.len(),
        count(first as u64),
        count(last as u64)
    );
    Some(chart.drawing(id, "Path of the gradient", &description))
}
