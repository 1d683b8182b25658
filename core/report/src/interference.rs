//! The figures of how widths interfere: the paper's figures 3 to 5, and how far their gradients agree.
//!
//! What can be compared between runs has the same axes and colours in all panels.

use std::collections::BTreeSet;

use slimclr_run::{
    event::Interference, interference::agreement::Agreement, interference::agreement::Pairs,
    interference::path::GradientPath, interference::path::gradient_path, interference::landscape::Directions,
    interference::landscape::Landscape, interference::landscape::Surface,
};

use crate::{
    chart::{Axis, Chart, Frame, LABELLED, PLANE, Scale, WIDE, drawable, extent},
    colour::{self, SHADES},
    course::{changes_in_words, mark_turns, smoothing_in_words, trace, training_axis},
    drawing::Drawing,
    figure::{Figure, Missing, Panel, key_of_widths},
    heat_map::{self, Grid},
    key::{Key, Mark},
    matrix::{self, Pair},
    runs::{Run, Runs},
    text::{count, percent, plural, width},
};

/// Losses that differ by more than this factor are drawn on a logarithmic scale.
const LOGARITHMIC_BEYOND: f64 = 20.0;
/// If the highest loss is more than so many times what 99 of 100 places do not exceed, it has the last colour: a place that
/// blew up would take all others.
const HIGHEST_OVER_MOST: f64 = 10.0;

/// What more has to be measured.
pub const MEASURE: &str = "“slimclr pretrain --interference” measures them";

/// Lines over training that belong into one panel.
struct Lines<'r, 'a> {
    run: &'r Run<'a>,
    /// What they are about, beside the run.
    what: String,
    series: Vec<Series>,
}

/// A line over training with its name and its look.
struct Series {
    name: String,
    class: String,
    /// Values by step.
    points: Vec<(f64, f64)>,
}

/// What panels of lines over training have in common.
struct Course {
    id: &'static str,
    title: &'static str,
    frame: Frame,
    y: Axis,
}

impl Course {
    /// The panels, on the same axes, and the longest window of a running mean.
    fn panels(&self, runs: &Runs, drawn: &[Lines]) -> (Vec<Panel>, usize) {
        let mut longest = 1;
        let panels = drawn.iter().enumerate().map(|(index, Lines { run, what, series })| {
            let (x, unit) = training_axis(runs.taken());
            let mut chart = Chart::new(self.frame, x, self.y.clone());
            mark_turns(&mut chart, &run.record, unit);
            let turns: Vec<f64> = run.record.turns().into_iter().map(|step| step as f64 / unit).collect();
            let mut description = format!("{} over training steps.", self.y.title);
            for Series { name, class, points } in series {
                let points: Vec<(f64, f64)> = points.iter().map(|(step, value)| (step / unit, *value)).collect();
                let (strong, window) = trace(&mut chart, &points, &turns, class);
                longest = longest.max(window);
                let seen = |(_, value): &&(f64, f64)| self.y.scale.position(*value).is_some();
                if let (Some(first), Some(last)) = (strong.iter().find(seen), strong.iter().rfind(seen)) {
                    chart.label_end(*last, name, class);
                    description += &format!(" {name}: from {:.3e} to {:.3e}.", first.1, last.1);
                }
            }
            let drawing = chart.drawing(&format!("{}-{index}", self.id), self.title, &description);
            Panel::new(runs.label(run), what.as_str(), Ok(drawing))
        });
        (panels.collect(), longest)
    }
}

impl Lines<'_, '_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        self.series.iter().flat_map(|series| &series.points).map(|(_, value)| *value)
    }
}

/// The runs that are in none of `lines`.
fn lacking(runs: &Runs, lines: &[Lines], what: &str) -> Option<Missing> {
    runs.lacking(|run| lines.iter().any(|lines| std::ptr::eq(lines.run, run)), what)
}

/// The failure to draw anything.
pub fn nothing(runs: &Runs, what: &str) -> Missing {
    runs.lacking(|_| false, what).unwrap_or_else(|| "There is no run to draw.".into())
}

/// What `value` is at every measurement of `run` that has it, by step.
fn over_training(run: &Run, value: impl Fn(&Interference) -> Option<f64>) -> Vec<(f64, f64)> {
    run.record.interference.iter().filter_map(|at| Some((at.step as f64, value(at)?))).collect()
}

/// Gradient norms of the widths and of what the full network has beyond the narrowest (paper figure 3).
pub fn magnitudes(runs: &Runs) -> Result<Figure, Missing> {
    const WHAT: &str = "no gradient norms are recorded";
    let lines = runs.all.iter().map(|run| {
        let widths = run.record.widths();
        let mut series: Vec<Series> = widths
            .iter()
            .enumerate()
            .map(|(index, value)| Series {
                name: width(*value),
                class: format!("w{}", runs.index(*value)),
                points: over_training(run, |at| at.gradient.norms.get(index).copied()),
            })
            .collect();
        if widths.len() > 1 {
            let points = over_training(run, |at| Some(at.gradient.rest));
            series.push(Series { name: "rest".into(), class: "plain dashed".into(), points });
        }
        Lines { run, what: String::new(), series }
    });
    let lines: Vec<Lines> = lines.filter(|lines| lines.values().any(positive)).collect();
    let values = || lines.iter().flat_map(Lines::values);
    let scale = Scale::logarithmic(values()).ok_or_else(|| nothing(runs, WHAT))?;
    let course = Course {
        id: "figure3",
        title: "Gradient norms over training",
        frame: if runs.all.len() == 1 { WIDE } else { LABELLED },
        y: Axis { title: "Mean gradient norm (l2)".into(), scale },
    };
    let (panels, window) = course.panels(runs, &lines);
    let mut key = key_of_widths(&runs.widths);
    let mut reading = String::from(
        "How strongly training pulls on the weights that each width uses: the l2 norm of the gradient’s slice, averaged \
         over convolution and linear weights, on a logarithmic axis, so that equal distances are equal ratios.",
    );
    if lines.iter().any(|lines| lines.run.record.widths().len() > 1) {
        key.push(Key::new(Mark::Rule("plain dashed"), "rest, θ(1.0 ∖ min)"));
        reading += " Where the narrowest width lies above the rest (what the full network has beyond it), a minority of \
                    the weights takes most of the gradient: the imbalance of the paper’s figure 3.";
    }
    reading += &smoothing_in_words(window);
    let undrawn = values().filter(|norm| !positive(*norm)).count() as u64;
    let mut notes = Vec::new();
    if undrawn > 0 {
        notes.push(format!("{} without a logarithm (zero or not finite): not drawn.", plural(undrawn, "norm")));
    }
    notes.extend(changes_in_words(runs));
    Ok(Figure { panels, key, reading, notes, lacking: lacking(runs, &lines, WHAT) })
}

fn positive(value: f64) -> bool {
    value > 0.0 && drawable(value)
}

/// The names of the last layers that `run` has measured.
fn layers(run: &Run) -> BTreeSet<String> {
    let measured = run.record.interference.iter().map(|at| &at.last_layers);
    measured.flat_map(|at| at.singular_values.keys().chain(at.products.keys())).cloned().collect()
}

/// The two largest singular values of the last linear layers' gradients (paper figure 4).
pub fn singular_values(runs: &Runs) -> Result<Figure, Missing> {
    let what = format!("no singular values of gradients are recorded; {MEASURE}");
    let of_run = |run| {
        layers(run).into_iter().map(move |layer| {
            let series = |index: usize, name: &str, class: &str| Series {
                name: name.into(),
                class: class.into(),
                points: over_training(run, |at| Some(at.last_layers.singular_values.get(&layer)?[index])),
            };
            let series = vec![series(0, "σ₁", "plain"), series(1, "σ₂", "plain dashed")];
            Lines { run, what: layer, series }
        })
    };
    let lines: Vec<Lines> = runs.all.iter().flat_map(of_run).filter(|lines| lines.values().any(positive)).collect();
    let scale = Scale::logarithmic(lines.iter().flat_map(Lines::values)).ok_or_else(|| nothing(runs, &what))?;
    let course = Course {
        id: "singular-values",
        title: "Singular values over training",
        frame: LABELLED,
        y: Axis { title: "Singular value".into(), scale },
    };
    let (panels, window) = course.panels(runs, &lines);
    Ok(Figure {
        panels,
        key: vec![
            Key::new(Mark::Rule("plain"), "largest singular value, σ₁"),
            Key::new(Mark::Rule("plain dashed"), "second, σ₂"),
        ],
        reading: format!(
            "The gradient of each last linear layer as a matrix: its two largest singular values, on a logarithmic axis. \
             The further σ₁ lies above σ₂, the more the gradient has one direction.{}",
            smoothing_in_words(window)
        ),
        notes: Vec::new(),
        lacking: lacking(runs, &lines, &what),
    })
}

/// The paths of the last linear layers' gradients in the plane of their two principal components (paper figure 4).
pub fn gradient_paths(runs: &Runs) -> Result<Figure, Missing> {
    let what = format!("fewer than two gradients of last layers are recorded; {MEASURE}");
    let mut panels = Vec::new();
    let mut with_path = Vec::new();
    for run in &runs.all {
        for layer in layers(run) {
            let path = gradient_path(&run.record.interference, &layer, run.record.settled());
            let drawing = path.and_then(|path| gradient_plane(&path, &format!("gradient-path-{}", panels.len())));
            if let Some(drawing) = drawing {
                with_path.push(run.name);
                panels.push(Panel::new(runs.label(run), layer, Ok(drawing)));
            }
        }
    }
    if panels.is_empty() {
        return Err(nothing(runs, &what));
    }
    Ok(Figure {
        panels,
        key: ends_of_path("first measurement", "last"),
        reading: "The same gradients, projected onto their two principal components; one point a measurement, and where \
                  the dotted lines cross is no gradient. Those of the first 5 % of the run are left out: they are the \
                  initialisation’s, and so large that the components would show nothing else. A path that wanders over both axes is a divergent direction; one that stays near \
                  an axis is consistent. Both axes of a panel have the same scale, so its shape is true; panels do not \
                  share components, so each has a scale of its own."
            .into(),
        notes: Vec::new(),
        lacking: runs.lacking(|run| with_path.contains(&run.name), &what),
    })
}

fn gradient_plane(path: &GradientPath, id: &str) -> Option<Drawing> {
    let scales = Scale::plane(&path.points)?;
    let mut chart = plane_chart(scales, "Component", path.explained);
    chart.zero_lines();
    let points: Vec<(f64, f64)> = path.points.iter().map(|[x, y]| (*x, *y)).collect();
    chart.path(&points);
    let (first, last) = (*path.steps.first()? as f64, *path.steps.last()? as f64);
    if first < last {
        let shades: Vec<String> = (0..SHADES).map(|n| format!(r#"class="t{n}" fill="currentColor""#)).collect();
        chart.bar(&Axis { title: "Training step".into(), scale: Scale::between(first, last) }, &shades);
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

/// A square chart of a plane whose two directions explain these shares of a variance.
fn plane_chart(scales: [Scale; 2], direction: &str, explained: [f64; 2]) -> Chart {
    let mut axes = scales.into_iter().zip(explained).enumerate().map(|(index, (scale, share))| {
        let share = if share.is_finite() { format!(" ({} % of variance)", percent(share)) } else { String::new() };
        Axis { title: format!("{direction} {}{share}", index + 1), scale }
    });
    let mut next = || axes.next().expect("there are two");
    Chart::new(PLANE, next(), next())
}

fn ends_of_path(start: &str, finish: &str) -> Vec<Key> {
    vec![Key::new(Mark::Start, start), Key::new(Mark::Finish, finish)]
}

/// Loss landscapes with the weights' path through them (paper figure 5).
pub fn landscapes(runs: &Runs) -> Result<Figure, Missing> {
    const WHAT: &str = "there is no loss landscape; “slimclr landscape” computes one from the snapshots that \
                        “slimclr pretrain --interference” keeps";
    let surfaces: Vec<(&Run, &Landscape, &Surface, Grid)> = runs
        .all
        .iter()
        .filter_map(|run| Some((run, run.landscape?)))
        .flat_map(|(run, landscape)| landscape.surfaces.iter().map(move |surface| (run, landscape, surface)))
        .filter_map(|(run, landscape, surface)| {
            Some((run, landscape, surface, Grid::new(&surface.x, &surface.y, &surface.loss)?))
        })
        .filter(|(.., grid)| grid.values().next().is_some())
        .collect();
    let mut panels = Vec::new();
    let mut beyond = false;
    // Losses of different runs may be of different kinds, so that one scale would show nothing of either.
    for of_run in surfaces.chunk_by(|(one, ..), (other, ..)| std::ptr::eq(*one, *other)) {
        let losses: Vec<f64> = of_run.iter().flat_map(|(.., grid)| grid.values()).collect();
        let Some((scale, is_beyond)) = loss_scale(&losses) else { continue };
        beyond |= is_beyond;
        for (run, _, surface, grid) in of_run {
            let content = landscape(surface, grid, &scale, &format!("figure5-{}", panels.len()));
            let content = content.ok_or_else(|| "No plane that can be drawn.".into());
            let panel = Panel::new(runs.label(run), format!("Width {}", width(surface.width)), content);
            panels.push(Panel { width: Some(runs.index(surface.width)), ..panel });
        }
    }
    if panels.is_empty() {
        return Err(nothing(runs, WHAT));
    }
    let mut key = ends_of_path("weights at the first snapshot", "at the last");
    key.insert(0, Key::new(Mark::Track, "path of the weights"));
    let mut notes = Vec::new();
    let voids: usize = surfaces.iter().map(|(.., grid)| grid.voids()).sum();
    if voids > 0 {
        key.push(Key::new(Mark::Void, "no value"));
        notes.push(format!("At {} the loss is no finite number: crossed out.", plural(voids as u64, "place")));
    }
    if beyond {
        notes.push("Losses beyond the end of the scale have its last colour.".into());
    }
    let kinds: BTreeSet<&str> = surfaces
        .iter()
        .map(|(_, landscape, ..)| match landscape.directions {
            Directions::Pca => "the principal components of the weights’ path",
            Directions::Random => "random, each filter scaled to the norm of the weights’",
        })
        .collect();
    let kinds: Vec<&str> = kinds.into_iter().collect();
    let images: BTreeSet<String> =
        surfaces.iter().map(|(_, landscape, ..)| plural(landscape.images as u64, "image")).collect();
    let images: Vec<String> = images.into_iter().collect();
    Ok(Figure {
        panels,
        key,
        reading: format!(
            "The loss of each width (over {}) on a plane through its trained weights, which lie at the origin; directions: \
             {}. Colours mean the same in all panels of a run; iso-lines are labelled with the loss. The path is the weights’ at \
             each snapshot, projected onto the plane: one that runs straight down into a basin met little resistance. \
             Panels do not share directions, so each has axes of its own.",
            images.join(" or "),
            kinds.join("; or "),
        ),
        notes,
        lacking: runs.lacking(|run| surfaces.iter().any(|(other, ..)| std::ptr::eq(*other, run)), WHAT),
    })
}

/// The scale of `losses`, and whether some lie beyond its end.
pub fn loss_scale(losses: &[f64]) -> Option<(Scale, bool)> {
    let mut sorted = losses.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, highest) = (*sorted.first()?, *sorted.last()?);
    let most = sorted[(sorted.len() - 1) * 99 / 100];
    let high = if most > 0.0 && highest > HIGHEST_OVER_MOST * most { most } else { highest };
    let scale = if low > 0.0 && high > LOGARITHMIC_BEYOND * low {
        Scale::logarithmic([low, high])?
    } else {
        Scale::linear([low, high])?
    };
    let beyond = scale.position(highest).is_none_or(|position| position > 1.0);
    Some((scale, beyond))
}

fn landscape(surface: &Surface, grid: &Grid, scale: &Scale, id: &str) -> Option<Drawing> {
    let path: Vec<(f64, f64)> =
        surface.path.iter().map(|waypoint| waypoint.at.map_or((f64::NAN, f64::NAN), |[x, y]| (x, y))).collect();
    // The plane may be computed for less than the path.
    let seen = path.iter().filter(|(x, y)| drawable(*x) && drawable(*y)).map(|(x, y)| [*x, *y]);
    let within: Vec<[f64; 2]> = grid.corners().into_iter().chain(seen).collect();
    let along = |index: usize| {
        let (low, high) = extent(within.iter().map(|point| point[index]))?;
        Some(Scale::between(low, high))
    };
    let mut chart = plane_chart([along(0)?, along(1)?], "Direction", surface.explained);
    chart.cells(grid, scale);
    // Of the panel's own range: in a flat one, the ticks of the common scale may pass nothing.
    let own: Vec<f64> = grid.values().collect();
    let (own_scale, _) = loss_scale(&own)?;
    chart.iso_lines(grid, &own_scale, &path);
    chart.track(&path);
    chart.bar(&Axis { title: "Loss (nats)".into(), scale: scale.clone() }, &heat_map::fills());
    let (low, high) = extent(own.into_iter())?;
    let mut description = format!("Losses from {low:.3e} to {high:.3e}.");
    if let [first, .., last] = surface.path.as_slice() {
        let loss = |loss: Option<f64>| loss.map_or("none".into(), |loss| format!("{loss:.3e}"));
        description += &format!(
            " The weights went from epoch {:.1} (loss {}) to epoch {:.1} (loss {}).",
            first.epoch,
            loss(first.loss),
            last.epoch,
            loss(last.loss)
        );
    }
    Some(chart.drawing(id, &format!("Loss landscape of width {}", width(surface.width)), &description))
}

/// The measurements of `run` at which all widths were trained.
fn of_all_widths<'r>(run: &'r Run) -> impl Iterator<Item = &'r Interference> {
    run.record.interference.iter().copied().filter(|at| run.record.trained_all(at.step))
}

/// The value of a pair, if it is a number.
fn value(pairs: &Pairs, row: usize, column: usize) -> Option<f64> {
    pairs.get(row)?.get(column).copied().flatten().filter(|value| value.is_finite())
}

/// The means over what was measured.
fn mean(measured: &[&Agreement], row: usize, column: usize) -> Pair {
    let mean = |pairs: fn(&Agreement) -> &Pairs| {
        let values = || measured.iter().filter_map(|agreement| value(pairs(agreement), row, column));
        let count = values().count();
        (count > 0).then(|| values().sum::<f64>() / count as f64)
    };
    Pair { cosine: mean(|agreement| &agreement.cosines), conflict: mean(|agreement| &agreement.conflicts) }
}

const NO_AGREEMENT: &str = "no cosines between gradients of widths are recorded";

fn no_agreement(runs: &Runs) -> String {
    let single = runs.all.iter().all(|run| run.record.widths().len() < 2);
    let measures = runs.all.iter().any(|run| !run.record.interference.is_empty());
    match (single, measures) {
        (true, _) => format!("{NO_AGREEMENT}, as there is one width only"),
        (false, true) => format!("{NO_AGREEMENT}: the sub-networks train from the end of slow start on"),
        (false, false) => format!("{NO_AGREEMENT}; {MEASURE}"),
    }
}

/// Mean cosines and conflict rates of each pair of widths, over the network and by stage.
pub fn matrices(runs: &Runs) -> Result<Figure, Missing> {
    let mut panels = Vec::new();
    let mut measured = Vec::new();
    let mut voids = false;
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
        let names: Vec<String> = run.record.widths().iter().copied().map(width).collect();
        let pairs = || (1..names.len()).flat_map(|row| (0..row).map(move |column| (row, column)));
        let known = |agreements: &[&Agreement], (row, column)| mean(agreements, row, column).cosine.is_some();
        parts.retain(|(_, agreements)| pairs().any(|pair| known(agreements, pair)));
        voids |= parts.iter().any(|(_, agreements)| pairs().any(|pair| !known(agreements, pair)));
        if !parts.is_empty() {
            measured.push(run.name);
        }
        for (name, agreements) in parts {
            let title = format!("Cosines between the widths’ gradients, {name}");
            let drawing = matrix::drawing(&format!("cosines-{}", panels.len()), &title, &names, |row, column| {
                mean(&agreements, row, column)
            });
            panels.push(Panel::new(runs.label(run), name, Ok(drawing)));
        }
    }
    if panels.is_empty() {
        return Err(nothing(runs, &no_agreement(runs)));
    }
    let mut key: Vec<Key> = [(-1.0, "−1: opposed"), (0.0, "0: unrelated"), (1.0, "1: agreed")]
        .map(|(value, label)| Key::new(Mark::Cell(colour::diverging(value).0), label))
        .into();
    key.push(Key::new(Mark::Negative, "negative"));
    if voids {
        key.push(Key::new(Mark::Void, "not measured"));
    }
    Ok(Figure {
        panels,
        key,
        reading: "The cosine between the gradients of two widths on the weights that both use, averaged over the \
                  measurements since slow start; below it the conflict rate, the share of weight tensors on which it is \
                  negative. Near 1, training one width trains the other; below 0, each undoes a part of what the other \
                  learns."
            .into(),
        notes: Vec::new(),
        lacking: runs.lacking(|run| measured.contains(&run.name), NO_AGREEMENT),
    })
}

/// A line for each sub-network: what `pairs` has of it and the full network.
fn against_full<'r, 'a>(runs: &'r Runs<'a>, pairs: fn(&Agreement) -> &Pairs, scale: f64) -> Vec<Lines<'r, 'a>> {
    let of_run = |run: &'r Run<'a>| {
        let series = run.record.widths().iter().enumerate().skip(1).map(|(index, sub)| {
            let measured =
                of_all_widths(run).filter_map(|at| Some((at.step as f64, value(pairs(&at.agreement), index, 0)?)));
            Series {
                name: width(*sub),
                class: format!("w{}", runs.index(*sub)),
                points: measured.map(|(step, value)| (step, scale * value)).collect(),
            }
        });
        Lines { run, what: String::new(), series: series.collect() }
    };
    runs.all.iter().map(of_run).filter(|lines| lines.values().next().is_some()).collect()
}

/// How far the full network and each sub-network agree, in the course of training.
pub fn agreement_over_training(runs: &Runs) -> Result<Figure, Missing> {
    let cosines = against_full(runs, |agreement| &agreement.cosines, 1.0);
    let conflicts = against_full(runs, |agreement| &agreement.conflicts, 100.0);
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
    for (id, title, axis, lines) in measures {
        // With zero, so that agreement and conflict lie on different sides.
        let scale = Scale::linear(lines.iter().flat_map(Lines::values).chain([0.0]));
        let Some(scale) = scale.filter(|_| !lines.is_empty()) else { continue };
        let course = Course { id, title, frame: LABELLED, y: Axis { title: axis.into(), scale } };
        let (of_measure, window) = course.panels(runs, lines);
        longest = longest.max(window);
        // What is compared stands side by side: a measure's panels, of all runs.
        panels.extend(of_measure.into_iter().map(|panel| Panel { heading: panel.group, group: title.into(), ..panel }));
    }
    if panels.is_empty() {
        return Err(nothing(runs, &no_agreement(runs)));
    }
    Ok(Figure {
        panels,
        key: key_of_widths(&runs.widths).into_iter().skip(1).collect(),
        reading: format!(
            "The same of each sub-network and the full one in the course of training: the cosine between their gradients \
             on the weights that the sub-network uses, and the share of weight tensors on which it is negative.{}",
            smoothing_in_words(longest)
        ),
        notes: Vec::new(),
        lacking: lacking(runs, &cosines, NO_AGREEMENT),
    })
}
