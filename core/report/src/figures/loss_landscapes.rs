//! Loss landscapes with the path of the weights (paper figure 5).

use slimclr_run::interference::landscape::{Directions, Landscape, Surface};

use crate::{
    plot::{
        axes::Axis,
        chart::Chart,
        drawing::Drawing,
        figure::{Figure, Missing, Panel},
        frame::SQUARE,
        grid::Grid,
        heat_map,
        legend::{LegendItem, Symbol},
        scale::{Scale, drawable, min_max},
    },
    runs::{Run, Runs, distinct},
    text::{plural, width},
};

/// A logarithmic scale is used if the largest loss is more than this times the smallest.
const LOGARITHMIC_ABOVE: f64 = 20.0;
/// If the largest loss is more than this times the 99th percentile, the scale ends at the percentile: a single diverged
/// point would otherwise use up the scale.
const OUTLIER_ABOVE: f64 = 10.0;

/// Draws loss landscapes with the path of the weights.
///
/// # Errors
/// If no run has a landscape that can be drawn.
pub fn loss_landscapes(runs: &Runs) -> Result<Figure, Missing> {
    const NO_LANDSCAPE: &str = "there is no loss landscape; “slimclr landscape” computes one from the snapshots that \
                                “slimclr pretrain --interference” saves";
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
    // One scale for each run: different runs may have different losses.
    for of_run in surfaces.chunk_by(|(one, ..), (other, ..)| std::ptr::eq(*one, *other)) {
        let losses: Vec<f64> = of_run.iter().flat_map(|(.., grid)| grid.values()).collect();
        let Some((scale, is_beyond)) = loss_scale(&losses) else { continue };
        beyond |= is_beyond;
        for (run, _, surface, grid) in of_run {
            let content = draw(surface, grid, &scale, &format!("figure5-{}", panels.len()));
            let content = content.ok_or_else(|| "This surface cannot be drawn.".into());
            let panel = Panel::new(runs.label(run), format!("Width {}", width(surface.width)), content);
            panels.push(Panel { width: Some(runs.index(surface.width)), ..panel });
        }
    }
    if panels.is_empty() {
        return Err(runs.all_omitted(NO_LANDSCAPE));
    }
    let mut legend = vec![
        LegendItem::new(Symbol::OutlinedPath, "path of the weights"),
        LegendItem::new(Symbol::Start, "first snapshot"),
        LegendItem::new(Symbol::Finish, "last snapshot"),
    ];
    let mut notes = vec!["The panels of a run share a colour scale, but not their directions.".into()];
    let missing: usize = surfaces.iter().map(|(.., grid)| grid.missing()).sum();
    if missing > 0 {
        legend.push(LegendItem::new(Symbol::NoValue, "no finite loss"));
        notes.push(format!("The loss is NaN or infinite at {} (crosses).", plural(missing as u64, "grid point")));
    }
    if beyond {
        notes.push("Losses above the end of the scale have its last colour.".into());
    }
    let directions = distinct(surfaces.iter().map(|(_, landscape, ..)| match landscape.directions {
        Directions::Pca => "the principal components of the weights’ path",
        Directions::Random => "two random directions, with each filter scaled to the norm of the weights’",
    }));
    let images = distinct(surfaces.iter().map(|(_, landscape, ..)| plural(landscape.images as u64, "image")));
    Ok(Figure {
        panels,
        legend,
        caption: format!(
            "The loss of each width (over {}) around its trained weights at the origin, in the plane of {}. A path \
             that runs straight down into a basin shows that the loss is smooth along the training path.",
            images.join(" or "),
            directions.join(" or of "),
        ),
        notes,
        omitted: runs.omitted(|run| surfaces.iter().any(|(other, ..)| std::ptr::eq(*other, run)), NO_LANDSCAPE),
    })
}

/// Returns a scale for `losses`, and whether some of them are beyond its end; `None` if there are no losses.
pub fn loss_scale(losses: &[f64]) -> Option<(Scale, bool)> {
    let mut sorted = losses.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, highest) = (*sorted.first()?, *sorted.last()?);
    let percentile = sorted[(sorted.len() - 1) * 99 / 100];
    let high = if percentile > 0.0 && highest > OUTLIER_ABOVE * percentile { percentile } else { highest };
    let scale = if low > 0.0 && high > LOGARITHMIC_ABOVE * low {
        Scale::logarithmic([low, high])?
    } else {
        Scale::linear([low, high])?
    };
    let beyond = scale.position(highest).is_none_or(|position| position > 1.0);
    Some((scale, beyond))
}

fn draw(surface: &Surface, grid: &Grid, scale: &Scale, id: &str) -> Option<Drawing> {
    let path: Vec<(f64, f64)> =
        surface.path.iter().map(|waypoint| waypoint.at.map_or((f64::NAN, f64::NAN), |[x, y]| (x, y))).collect();
    // The path may leave the grid.
    let visible = path.iter().filter(|(x, y)| drawable(*x) && drawable(*y)).map(|(x, y)| [*x, *y]);
    let within: Vec<[f64; 2]> = grid.corners().into_iter().chain(visible).collect();
    let axis = |index: usize| {
        let (low, high) = min_max(within.iter().map(|point| point[index]))?;
        Some(Scale::exact(low, high))
    };
    let mut chart = Chart::plane(SQUARE, [axis(0)?, axis(1)?], "Direction", surface.explained);
    chart.cells(grid, scale);
    // Contours use the panel's own scale: a flat surface may contain no tick of the shared one.
    let losses: Vec<f64> = grid.values().collect();
    let (contour_scale, _) = loss_scale(&losses)?;
    chart.contours(grid, &contour_scale, &path);
    chart.outlined_path(&path);
    chart.colour_bar(&Axis { title: "Loss (nats)".into(), scale: scale.clone() }, &heat_map::fills());
    let (low, high) = min_max(losses.into_iter())?;
    let mut description = format!("Losses from {low:.3e} to {high:.3e}.");
    if let [first, .., last] = surface.path.as_slice() {
        let loss = |loss: Option<f64>| loss.map_or("not finite".into(), |loss| format!("{loss:.3e}"));
        description += &format!(
            " The path of the weights goes from epoch {:.1} (loss {}) to epoch {:.1} (loss {}).",
            first.epoch,
            loss(first.loss),
            last.epoch,
            loss(last.loss)
        );
    }
    Some(chart.drawing(id, &format!("Loss landscape of width {}", width(surface.width)), &description))
}
