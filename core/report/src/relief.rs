//! A loss landscape in three dimensions: what a program that draws it needs to know, and says of it.

use slimclr_run::{interference::landscape::Landscape, interference::landscape::Surface};

use crate::{
    chart::{Scale, drawable},
    colour,
    heat_map::Grid,
    interference::loss_scale,
    text::significant,
};

/// Points of the path from one snapshot to the next, for a path that follows the ground.
pub const STRIDE: usize = 12;

/// The height of a place without a loss.
const NONE: f32 = -1e3;
/// Iso-lines, about.
const ISO_LINES: usize = 12;
/// The longer side of a relief may be so many times the shorter: the plane of a path may be a strip.
const LONGEST_SIDE: f64 = 2.5;

/// The surfaces of the widest and the narrowest network, on one scale.
#[derive(Debug, Clone, PartialEq)]
pub struct Reliefs {
    /// One or two, widest first.
    pub reliefs: Vec<Relief>,
    /// Steps of the height, an iso-line between any two.
    pub steps: usize,
    /// What height and lines mean, in sentences.
    pub reading: String,
    /// The loss at the bottom and at the top.
    pub ends: [String; 2],
}

/// One width's surface.
#[derive(Debug, Clone, PartialEq)]
pub struct Relief {
    /// The width.
    pub width: f64,
    /// Places along the two directions.
    pub places: [usize; 2],
    /// Lengths along them, of which the diagonal is 1.
    pub sides: [f32; 2],
    /// The loss at each place, a row for each along the second direction, from 0 at the bottom to 1 at the top; far
    /// below 0 where there is none.
    pub heights: Vec<f32>,
    /// Where the weights went, counted in places along the directions; [`STRIDE`] points from one snapshot to the next.
    pub path: Vec<[f32; 2]>,
    /// In words, for those who do not see it.
    pub description: String,
}

/// The colours of heights, evenly spaced from the lowest: red, green and blue, from 0 to 1.
pub fn colours() -> [[f32; 3]; colour::SEQUENTIAL.len()] {
    colour::SEQUENTIAL.map(|stop| stop.map(|channel| f32::from(channel) / 255.0))
}

/// What there is to draw of a landscape; nothing if none of its surfaces has a loss that can be drawn.
pub fn reliefs(landscape: &Landscape) -> Option<Reliefs> {
    let drawn = |surface: &&Surface| {
        Grid::new(&surface.x, &surface.y, &surface.loss).is_some_and(|grid| grid.values().next().is_some())
    };
    let surfaces: Vec<&Surface> = landscape.surfaces.iter().filter(drawn).collect();
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
    let void = grids.iter().any(|grid| grid.voids() > 0);
    let reliefs = surfaces.iter().zip(&grids).map(|(surface, grid)| relief(surface, grid, &scale));
    Some(Reliefs {
        reliefs: reliefs.collect(),
        steps: intervals * (ISO_LINES / intervals).max(1),
        reading: reading(&scale, surfaces.len(), beyond.then_some(&high.label), void),
        ends: [low.label.clone(), high.label.clone()],
    })
}

fn reading(scale: &Scale, widths: usize, cut_off: Option<&String>, void: bool) -> String {
    let kind = if scale.is_logarithmic() { "the logarithm of the loss" } else { "the loss" };
    let shared = if widths > 1 { ", on one scale for both widths" } else { "" };
    let mut reading = format!(
        "Height and colour are {kind}{shared}; between the places where it was computed the \
         surface is bent smoothly. The line is the weights’ way on it, from the hollow ball to the full one."
    );
    if let Some(high) = cut_off {
        reading += &format!(" Losses above {high} are cut off there.");
    }
    if void {
        reading += " Where the surface has a hole, the loss is no finite number.";
    }
    reading
}

fn relief(surface: &Surface, grid: &Grid, scale: &Scale) -> Relief {
    let places = [surface.x.len(), surface.y.len()];
    let height = |(row, column): (usize, usize)| {
        let position = grid.value(column, row).and_then(|loss| scale.position(loss));
        position.map_or(NONE, |position| position.clamp(0.0, 1.0) as f32)
    };
    let cells = (0..places[1]).flat_map(|row| (0..places[0]).map(move |column| (row, column)));
    Relief {
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
    let least = lengths[0].max(lengths[1]) / LONGEST_SIDE;
    let [x, y] = lengths.map(|length| length.max(least));
    [x, y].map(|side| (side / x.hypot(y)) as f32)
}

/// The snapshots that lie somewhere.
fn stations(surface: &Surface) -> Vec<[f64; 2]> {
    surface.path.iter().filter_map(|waypoint| waypoint.at).filter(|at| at.iter().all(|v| drawable(*v))).collect()
}

fn path(surface: &Surface) -> Vec<[f32; 2]> {
    let stations = stations(surface);
    let between = stations.windows(2).flat_map(|ends| {
        (0..STRIDE).map(|n| {
            let part = n as f64 / STRIDE as f64;
            std::array::from_fn(|i| ends[0][i] + part * (ends[1][i] - ends[0][i]))
        })
    });
    let points = between.chain(stations.last().copied());
    points.map(|[x, y]: [f64; 2]| [along(&surface.x, x), along(&surface.y, y)]).collect()
}

/// Where a coordinate lies, counted in places of an axis.
fn along(axis: &[f64], value: f64) -> f32 {
    let cell = axis.partition_point(|place| *place <= value).clamp(1, axis.len() - 1) - 1;
    (cell as f64 + (value - axis[cell]) / (axis[cell + 1] - axis[cell])) as f32
}

fn description(surface: &Surface, grid: &Grid) -> String {
    let (low, high) =
        grid.values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let mut words = format!(
        "The loss of width {} as a surface, from {} at the lowest to {} at the highest.",
        surface.width,
        significant(low),
        significant(high)
    );
    let length: f64 =
        stations(surface).windows(2).map(|ends| (ends[1][0] - ends[0][0]).hypot(ends[1][1] - ends[0][1])).sum();
    if let [first, .., last] = surface.path.as_slice() {
        words += &format!(" The weights went a way of length {} across it", significant(length));
        if let (Some(from), Some(to)) = (first.loss, last.loss) {
            words += &format!(", from loss {} to {}", significant(from), significant(to));
        }
        words.push('.');
    }
    words
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
        let reliefs = reliefs(&landscape(all.into())).unwrap();
        let heights: Vec<_> = reliefs.reliefs.iter().map(|it| (it.width, it.places, it.heights[0])).collect();
        assert_eq!(heights, [(1.0, [3, 2], 0.0), (0.25, [3, 2], 1.0)]);
        assert_eq!(reliefs.ends, ["1.0", "3.0"]);
        let [x, y] = reliefs.reliefs[0].sides;
        assert!((x - 2.0 * y).abs() < 1e-6 && (x.hypot(y) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn decades_are_logarithmic_and_what_is_cut_off_is_said() {
        let losses = [[Some(0.01), None, Some(0.1)], [Some(1.0), Some(1.0), Some(1.0)]];
        let one = reliefs(&landscape(vec![surface(1.0, losses, &[])])).unwrap();
        let [bottom, void, tenth, top, ..] = one.reliefs[0].heights[..] else { panic!() };
        assert!(bottom == 0.0 && void == NONE && (tenth - 0.5).abs() < 1e-6 && top == 1.0);
        assert!(one.reading.contains("logarithm") && one.reading.contains("hole") && !one.reading.contains("cut off"));
        let peak = [[Some(1.0), Some(2.0), Some(1e6)], [Some(1.0); 3]];
        let peak = reliefs(&landscape(vec![surface(1.0, peak, &[])])).unwrap();
        assert_eq!(peak.reliefs[0].heights[2], 1.0);
        assert!(peak.reading.contains("Losses above 2.0 are cut off there."), "{}", peak.reading);
    }

    #[test]
    fn a_path_is_counted_in_places() {
        let path = [[-1.0, 0.0], [0.0, 1.0], [3.0, 2.0]];
        let drawn = reliefs(&landscape(vec![surface(1.0, [[Some(1.0); 3], [Some(2.0); 3]], &path)])).unwrap();
        let relief = &drawn.reliefs[0];
        let stations: Vec<_> = relief.path.iter().step_by(STRIDE).copied().collect();
        assert_eq!(stations, [[0.0, 0.0], [1.0, 0.5], [2.0, 1.0]]);
        assert_eq!(relief.path[STRIDE + STRIDE / 2], [1.5, 0.75]);
        assert_eq!(
            relief.description,
            "The loss of width 1 as a surface, from 1.00 at the lowest to 2.00 at the highest. The weights went a way of \
             length 4.58 across it, from loss 2.50 to 2.50."
        );
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(reliefs(&landscape(vec![])), None);
        assert_eq!(reliefs(&landscape(vec![surface(1.0, [[None; 3]; 2], &[])])), None);
    }
}
