//! A loss landscape in three dimensions: the data and the texts for a program that draws it.

use slimclr_run::{interference::landscape::Landscape, interference::landscape::Surface};

use crate::{
    figures::loss_landscapes::loss_scale,
    plot::{
        colour,
        grid::Grid,
        scale::{Scale, drawable, min_max},
    },
    text::significant,
};

/// Points of the path from one snapshot to the next, so that the path follows the surface.
pub const STRIDE: usize = 12;

/// The height of a grid point without a loss.
const NO_LOSS: f32 = -1e3;
/// The approximate number of contour lines.
const CONTOURS: usize = 12;
/// The largest ratio of a surface's sides. The shorter side of a narrow grid is stretched to it.
const MAX_ASPECT: f64 = 2.5;

/// The surfaces of the widest and the narrowest network, with a shared scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Surfaces3d {
    /// One or two, widest first.
    pub surfaces: Vec<Surface3d>,
    /// The number of height intervals; contour lines separate them.
    pub steps: usize,
    /// The caption: what height, colour and lines mean.
    pub reading: String,
    /// The losses at the bottom and at the top, as text.
    pub ends: [String; 2],
}

/// The loss of one width as a surface.
#[derive(Debug, Clone, PartialEq)]
pub struct Surface3d {
    /// The width.
    pub width: f64,
    /// The number of grid points along the two directions.
    pub places: [usize; 2],
    /// The lengths of the sides, scaled to a diagonal of 1.
    pub sides: [f32; 2],
    /// The height of each grid point from 0 (lowest loss) to 1, row by row along the second direction; far below 0
    /// where there is no loss.
    pub heights: Vec<f32>,
    /// The path of the weights, in grid points along the directions; [`STRIDE`] points from one snapshot to the next.
    pub path: Vec<[f32; 2]>,
    /// Alternative text.
    pub description: String,
}

/// Returns the colour map of heights, evenly spaced from the lowest: red, green and blue from 0 to 1.
pub fn colours() -> [[f32; 3]; colour::SEQUENTIAL.len()] {
    colour::SEQUENTIAL.map(|stop| stop.map(|channel| f32::from(channel) / 255.0))
}

/// Returns the surfaces of a landscape; `None` if none of them has a loss that can be drawn.
pub fn surfaces(landscape: &Landscape) -> Option<Surfaces3d> {
    let is_drawable = |surface: &&Surface| {
        Grid::new(&surface.x, &surface.y, &surface.loss).is_some_and(|grid| grid.values().next().is_some())
    };
    let surfaces: Vec<&Surface> = landscape.surfaces.iter().filter(is_drawable).collect();
    let surfaces = match surfaces[..] {
        [] => return None,
        [one] => vec![one],
        [widest, .., narrowest] => vec![widest, narrowest],
    };
    let grids: Vec<Grid> =
        surfaces.iter().filter_map(|surface| Grid::new(&surface.x, &surface.y, &surface.loss)).collect();
    let losses: Vec<f64> = grids.iter().flat_map(Grid::values).collect();
    let (scale, beyond) = loss_scale(&losses)?;
    let ticks = scale.ticks();
    let [low, high] = [ticks.first()?, ticks.last()?];
    let intervals = ticks.len() - 1;
    let has_holes = grids.iter().any(|grid| grid.missing() > 0);
    let drawn = surfaces.iter().zip(&grids).map(|(surface, grid)| surface3d(surface, grid, &scale));
    Some(Surfaces3d {
        surfaces: drawn.collect(),
        steps: intervals * (CONTOURS / intervals).max(1),
        reading: caption(&scale, surfaces.len(), beyond.then_some(&high.label), has_holes),
        ends: [low.label.clone(), high.label.clone()],
    })
}

fn caption(scale: &Scale, widths: usize, cut_off: Option<&String>, has_holes: bool) -> String {
    let kind = if scale.is_logarithmic() { "the logarithm of the loss" } else { "the loss" };
    let shared = if widths > 1 { ", on the same scale for both widths" } else { "" };
    let mut caption = format!(
        "Height and colour show {kind}{shared}, interpolated between grid points. The line is the path of the weights, \
         from the hollow ball to the solid one."
    );
    if let Some(high) = cut_off {
        caption += &format!(" Losses above {high} are cut off.");
    }
    if has_holes {
        caption += " Where the surface has a hole, the loss is NaN or infinite.";
    }
    caption
}

fn surface3d(surface: &Surface, grid: &Grid, scale: &Scale) -> Surface3d {
    let places = [surface.x.len(), surface.y.len()];
    let height = |(row, column): (usize, usize)| {
        let position = grid.value(column, row).and_then(|loss| scale.position(loss));
        position.map_or(NO_LOSS, |position| position.clamp(0.0, 1.0) as f32)
    };
    let cells = (0..places[1]).flat_map(|row| (0..places[0]).map(move |column| (row, column)));
    Surface3d {
        width: surface.width,
        places,
        sides: sides(surface),
        heights: cells.map(height).collect(),
        path: path(surface),
        description: description(surface, grid),
    }
}

fn sides(surface: &Surface) -> [f32; 2] {
    let lengths = [&surface.x, &surface.y].map(|axis| axis[axis.len() - 1] - axis[0]);
    let least = lengths[0].max(lengths[1]) / MAX_ASPECT;
    let [x, y] = lengths.map(|length| length.max(least));
    [x, y].map(|side| (side / x.hypot(y)) as f32)
}

/// Returns the positions of the snapshots that can be drawn.
fn snapshots(surface: &Surface) -> Vec<[f64; 2]> {
    surface.path.iter().filter_map(|waypoint| waypoint.at).filter(|at| at.iter().all(|v| drawable(*v))).collect()
}

fn path(surface: &Surface) -> Vec<[f32; 2]> {
    let snapshots = snapshots(surface);
    let between = snapshots.windows(2).flat_map(|ends| {
        (0..STRIDE).map(|n| {
            let part = n as f64 / STRIDE as f64;
            std::array::from_fn(|i| ends[0][i] + part * (ends[1][i] - ends[0][i]))
        })
    });
    let points = between.chain(snapshots.last().copied());
    points.map(|[x, y]: [f64; 2]| [grid_position(&surface.x, x), grid_position(&surface.y, y)]).collect()
}

/// Returns the position of a coordinate, in grid points of an axis.
fn grid_position(axis: &[f64], value: f64) -> f32 {
    let cell = axis.partition_point(|point| *point <= value).clamp(1, axis.len() - 1) - 1;
    (cell as f64 + (value - axis[cell]) / (axis[cell + 1] - axis[cell])) as f32
}

fn description(surface: &Surface, grid: &Grid) -> String {
    let (low, high) = min_max(grid.values()).unwrap_or_default();
    let mut text = format!(
        "The loss of width {} as a surface, from {} to {}.",
        surface.width,
        significant(low),
        significant(high)
    );
    let length: f64 =
        snapshots(surface).windows(2).map(|ends| (ends[1][0] - ends[0][0]).hypot(ends[1][1] - ends[0][1])).sum();
    if let [first, .., last] = surface.path.as_slice() {
        text += &format!(" The path of the weights has length {}", significant(length));
        if let (Some(from), Some(to)) = (first.loss, last.loss) {
            text += &format!(", from loss {} to {}", significant(from), significant(to));
        }
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use slimclr_run::{interference::landscape::Directions, interference::landscape::Waypoint};

    use super::*;

    fn surface(width: f64, loss: [[Option<f64>; 3]; 2], path: &[[f64; 2]]) -> Surface {
        let waypoint = |at: &[f64; 2]| Waypoint { epoch: 0.0, at: Some(*at), loss: Some(2.5) };
        Surface {
            width,
            x: vec![-1.0, 0.0, 3.0],
            y: vec![0.0, 2.0],
            loss: loss.map(Vec::from).into(),
            path: path.iter().map(waypoint).collect(),
            explained: [0.6, 0.3],
        }
    }

    fn landscape(surfaces: Vec<Surface>) -> Landscape {
        Landscape { directions: Directions::Pca, images: 64, surfaces }
    }

    #[test]
    fn the_widest_and_the_narrowest_share_a_scale() {
        let flat = |loss| [[Some(loss); 3]; 2];
        let all = [(1.0, 1.0), (0.5, 9.0), (0.25, 3.0)].map(|(width, loss)| surface(width, flat(loss), &[]));
        let drawn = surfaces(&landscape(all.into())).unwrap();
        let heights: Vec<_> = drawn.surfaces.iter().map(|it| (it.width, it.places, it.heights[0])).collect();
        assert_eq!(heights, [(1.0, [3, 2], 0.0), (0.25, [3, 2], 1.0)]);
        assert_eq!(drawn.ends, ["1.0", "3.0"]);
        let [x, y] = drawn.surfaces[0].sides;
        assert!((x - 2.0 * y).abs() < 1e-6 && (x.hypot(y) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn large_ratios_are_logarithmic_and_the_caption_mentions_cut_off_losses() {
        let losses = [[Some(0.01), None, Some(0.1)], [Some(1.0), Some(1.0), Some(1.0)]];
        let one = surfaces(&landscape(vec![surface(1.0, losses, &[])])).unwrap();
        let [bottom, hole, tenth, top, ..] = one.surfaces[0].heights[..] else { panic!() };
        assert!(bottom == 0.0 && hole == NO_LOSS && (tenth - 0.5).abs() < 1e-6 && top == 1.0);
        assert!(one.reading.contains("logarithm") && one.reading.contains("hole") && !one.reading.contains("cut off"));
        let peak = [[Some(1.0), Some(2.0), Some(1e6)], [Some(1.0); 3]];
        let peak = surfaces(&landscape(vec![surface(1.0, peak, &[])])).unwrap();
        assert_eq!(peak.surfaces[0].heights[2], 1.0);
        assert!(peak.reading.contains("Losses above 2.0 are cut off."), "{}", peak.reading);
    }

    #[test]
    fn a_path_is_in_grid_points() {
        let path = [[-1.0, 0.0], [0.0, 1.0], [3.0, 2.0]];
        let drawn = surfaces(&landscape(vec![surface(1.0, [[Some(1.0); 3], [Some(2.0); 3]], &path)])).unwrap();
        let surface = &drawn.surfaces[0];
        let snapshots: Vec<_> = surface.path.iter().step_by(STRIDE).copied().collect();
        assert_eq!(snapshots, [[0.0, 0.0], [1.0, 0.5], [2.0, 1.0]]);
        assert_eq!(surface.path[STRIDE + STRIDE / 2], [1.5, 0.75]);
        assert_eq!(
            surface.description,
            "The loss of width 1 as a surface, from 1.00 to 2.00. The path of the weights has length 4.58, from loss \
             2.50 to 2.50."
        );
    }

    #[test]
    fn a_landscape_without_losses_has_no_surfaces() {
        assert_eq!(surfaces(&landscape(vec![])), None);
        assert_eq!(surfaces(&landscape(vec![surface(1.0, [[None; 3]; 2], &[])])), None);
    }
}
