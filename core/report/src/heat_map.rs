//! A function on a plane: cells in colour, with crosses where it has no value, and iso-lines.

use std::collections::BTreeMap;

use crate::{
    chart::{Chart, Scale, drawable},
    colour,
};

/// Colours of a heat map.
pub const LEVELS: usize = 20;

/// Iso-lines shorter than this, in user units, have no label.
const LABELLED_LENGTH: f64 = 70.0;
/// Room around a label, in user units.
const LABEL_ROOM: f64 = 30.0;

/// The fields of the bar that explains a heat map, from the lowest.
pub fn fills() -> Vec<String> {
    (0..LEVELS).map(|level| colour::sequential((level as f64 + 0.5) / LEVELS as f64)).collect()
}

/// Values on a grid.
#[derive(Debug)]
pub struct Grid<'a> {
    x: &'a [f64],
    y: &'a [f64],
    values: &'a [Vec<Option<f64>>],
}

impl<'a> Grid<'a> {
    /// Of `values`, a row for each `y`; none if the coordinates do not span a plane.
    pub fn new(x: &'a [f64], y: &'a [f64], values: &'a [Vec<Option<f64>>]) -> Option<Self> {
        let ascends = |axis: &[f64]| {
            axis.len() >= 2 && axis.iter().all(|v| drawable(*v)) && axis.windows(2).all(|pair| pair[0] < pair[1])
        };
        (ascends(x) && ascends(y)).then_some(Self { x, y, values })
    }

    /// The value at a column and a row, if it can be drawn.
    pub fn value(&self, column: usize, row: usize) -> Option<f64> {
        self.values.get(row)?.get(column).copied().flatten().filter(|value| drawable(*value))
    }

    /// All values that can be drawn.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        (0..self.y.len()).flat_map(move |row| (0..self.x.len()).filter_map(move |column| self.value(column, row)))
    }

    /// How many places have none.
    pub fn voids(&self) -> usize {
        self.x.len() * self.y.len() - self.values().count()
    }

    /// The corners, half a cell beyond the outer places.
    pub fn corners(&self) -> [[f64; 2]; 2] {
        let [x, y] = [self.x, self.y].map(edges);
        [[x[0], y[0]], [x[x.len() - 1], y[y.len() - 1]]]
    }

    /// The lines on which the function, if its logarithm for `scale` is linear between places, is `level`.
    fn iso_lines(&self, scale: &Scale, level: f64) -> Vec<Vec<(f64, f64)>> {
        let Some(level) = scale.position(level) else { return Vec::new() };
        let height = |column, row| scale.position(self.value(column, row)?);
        // A crossing lies on the edge that leaves a place to the right or upwards, and is named so.
        let mut crossings: BTreeMap<(usize, usize, bool), Crossing> = BTreeMap::new();
        for row in 0..self.y.len() - 1 {
            for column in 0..self.x.len() - 1 {
                let corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)];
                let [Some(a), Some(b), Some(c), Some(d)] = corners.map(|(column, row)| height(column, row)) else {
                    continue;
                };
                let heights = [a, b, c, d];
                let names =
                    [(column, row, true), (column + 1, row, false), (column, row + 1, true), (column, row, false)];
                let crossed: Vec<usize> =
                    (0..4).filter(|side| (heights[*side] >= level) != (heights[(side + 1) % 4] >= level)).collect();
                let pairs = match crossed[..] {
                    [one, other] => vec![(one, other)],
                    // A saddle: the middle decides which corners belong together.
                    [..] if crossed.len() == 4 => {
                        let middle = heights.iter().sum::<f64>() / 4.0;
                        if (middle >= level) == (a >= level) { vec![(0, 1), (2, 3)] } else { vec![(3, 0), (1, 2)] }
                    }
                    _ => Vec::new(),
                };
                for side in crossed {
                    let ((from, to), (low, high)) =
                        ((corners[side], corners[(side + 1) % 4]), (heights[side], heights[(side + 1) % 4]));
                    let part = (level - low) / (high - low);
                    let along = |axis: &[f64], from: usize, to: usize| axis[from] + part * (axis[to] - axis[from]);
                    let at = (along(self.x, from.0, to.0), along(self.y, from.1, to.1));
                    crossings.entry(names[side]).or_insert(Crossing { at, next: Vec::new() });
                }
                for (one, other) in pairs {
                    for (from, to) in [(one, other), (other, one)] {
                        if let Some(crossing) = crossings.get_mut(&names[from]) {
                            crossing.next.push(names[to]);
                        }
                    }
                }
            }
        }
        let mut lines = Vec::new();
        // Lines that end somewhere are followed from their ends; what is left is closed.
        let ends: Vec<_> =
            crossings.iter().filter(|(_, crossing)| crossing.next.len() == 1).map(|(name, _)| *name).collect();
        let others: Vec<_> = crossings.keys().copied().collect();
        for start in ends.into_iter().chain(others) {
            let Some(Crossing { at, next }) = crossings.remove(&start) else { continue };
            let mut line = vec![at];
            let mut ahead = next;
            while let Some(crossing) = ahead.iter().find_map(|name| crossings.remove(name)) {
                line.push(crossing.at);
                ahead = crossing.next;
            }
            if ahead.contains(&start) {
                line.push(at);
            }
            lines.push(line);
        }
        lines
    }
}

/// A place between two neighbours at which an iso-line passes, and the names of those where it goes on.
struct Crossing {
    at: (f64, f64),
    next: Vec<(usize, usize, bool)>,
}

/// Where cells around `places` end: in the middle between two.
fn edges(places: &[f64]) -> Vec<f64> {
    let middles = places.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    let (first, last) = (places[0], places[places.len() - 1]);
    let (head, tail) = (places[1] - first, last - places[places.len() - 2]);
    std::iter::once(first - head / 2.0).chain(middles).chain([last + tail / 2.0]).collect()
}

impl Chart {
    /// The cells of `grid`, coloured by `scale`.
    pub fn cells(&mut self, grid: &Grid, scale: &Scale) {
        let place = |(x, y)| self.place((x, y));
        let [columns, rows] = [edges(grid.x), edges(grid.y)];
        let mut levels: BTreeMap<usize, String> = BTreeMap::new();
        let (mut voids, mut crosses) = (String::new(), String::new());
        let level = |column, row| {
            let along = scale.position(grid.value(column, row)?)?.clamp(0.0, 1.0);
            Some(((along * LEVELS as f64) as usize).min(LEVELS - 1))
        };
        for row in 0..grid.y.len() {
            let mut column = 0;
            while column < grid.x.len() {
                let here = level(column, row);
                let end = (column..grid.x.len()).find(|other| level(*other, row) != here).unwrap_or(grid.x.len());
                if let (Some((left, bottom)), Some((right, top))) =
                    (place((columns[column], rows[row])), place((columns[end], rows[row + 1])))
                {
                    let cells = format!("M{left:.1},{bottom:.1}H{right:.1}V{top:.1}H{left:.1}z");
                    match here {
                        Some(level) => *levels.entry(level).or_default() += &cells,
                        None => voids += &cells,
                    }
                }
                if here.is_none() {
                    for (x, y) in (column..end).filter_map(|column| place((grid.x[column], grid.y[row]))) {
                        crosses += &format!("M{:.1},{:.1}l5,5m0,-5l-5,5", x - 2.5, y - 2.5);
                    }
                }
                column = end;
            }
        }
        let fills = fills();
        for (level, cells) in levels {
            self.mark(&format!(r#"<path class="cells" shape-rendering="crispEdges" {} d="{cells}"/>"#, fills[level]));
        }
        if !voids.is_empty() {
            self.mark(&format!(
                r#"<path class="cells void" d="{voids}"/>
<path class="void-cross" d="{crosses}"/>"#
            ));
        }
    }

    /// Iso-lines of `grid`: at the ticks of `scale`, labelled where there is room, which is not near `taken`, and half-way
    /// between.
    pub fn iso_lines(&mut self, grid: &Grid, scale: &Scale, taken: &[(f64, f64)]) {
        let mut taken: Vec<(f64, f64)> = taken.iter().filter_map(|at| self.place(*at)).collect();
        let mut labels = String::new();
        for level in scale.half_ticks() {
            let lines = self.placed(grid.iso_lines(scale, level));
            self.iso_line("iso faint", &lines);
        }
        for tick in scale.ticks() {
            let lines = self.placed(grid.iso_lines(scale, tick.value));
            self.iso_line("iso", &lines);
            let length = |line: &[(f64, f64)]| line.windows(2).map(|pair| distance(pair[0], pair[1])).sum::<f64>();
            let longest = lines.iter().max_by(|a, b| length(a).total_cmp(&length(b)));
            let Some(line) = longest.filter(|line| length(line) >= LABELLED_LENGTH) else { continue };
            let free = |at: &&(f64, f64)| {
                self.inside(**at, LABEL_ROOM / 2.0) && taken.iter().all(|other| distance(**at, *other) > LABEL_ROOM)
            };
            if let Some((x, y)) = line.iter().find(free).copied() {
                taken.push((x, y));
                labels += &format!(
                    r#"<text class="iso-label" x="{x:.1}" y="{y:.1}" dy=".35em" text-anchor="middle">{}</text>"#,
                    tick.label
                );
            }
        }
        self.mark(&labels);
    }

    fn placed(&self, lines: Vec<Vec<(f64, f64)>>) -> Vec<Vec<(f64, f64)>> {
        lines.into_iter().map(|line| line.into_iter().filter_map(|at| self.place(at)).collect()).collect()
    }

    fn iso_line(&mut self, class: &str, lines: &[Vec<(f64, f64)>]) {
        let path = |line: &Vec<(f64, f64)>| {
            let points: Vec<String> = line.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            format!("M{}", points.join("L"))
        };
        let paths: String = lines.iter().map(path).collect();
        if !paths.is_empty() {
            self.mark(&format!(r#"<path class="{class}" d="{paths}"/>"#));
        }
    }
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bowl() -> (Vec<f64>, Vec<Vec<Option<f64>>>) {
        let axis: Vec<f64> = (-10..=10).map(f64::from).collect();
        let loss = axis.iter().map(|y| axis.iter().map(|x| Some(x * x + y * y)).collect()).collect();
        (axis, loss)
    }

    #[test]
    fn iso_lines_of_a_bowl_are_closed_circles() {
        let (axis, loss) = bowl();
        let grid = Grid::new(&axis, &axis, &loss).unwrap();
        let scale = Scale::linear([0.0, 200.0]).unwrap();
        let lines = grid.iso_lines(&scale, 49.5);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0][0], lines[0][lines[0].len() - 1]);
        assert!(lines[0].iter().all(|(x, y)| (x.hypot(*y) - 49.5_f64.sqrt()).abs() < 0.05), "{lines:?}");
        // Beyond the circle that touches the sides, four arcs are left in the corners.
        assert_eq!(grid.iso_lines(&scale, 150.5).len(), 4);
        assert!(grid.iso_lines(&scale, 500.0).is_empty());
    }

    #[test]
    fn a_saddle_and_places_without_a_value_leave_open_lines() {
        let axis = [0.0, 1.0];
        let saddle = [vec![Some(1.0), Some(0.0)], vec![Some(0.0), Some(1.0)]];
        let scale = Scale::linear([0.0, 1.0]).unwrap();
        assert_eq!(Grid::new(&axis, &axis, &saddle).unwrap().iso_lines(&scale, 0.4).len(), 2);
        let (axis, mut loss) = bowl();
        loss[10][17] = None;
        let grid = Grid::new(&axis, &axis, &loss).unwrap();
        let lines = grid.iso_lines(&Scale::linear([0.0, 200.0]).unwrap(), 49.5);
        assert_eq!((lines.len(), grid.voids()), (1, 1));
        assert_ne!(lines[0][0], lines[0][lines[0].len() - 1]);
    }

    #[test]
    fn what_spans_no_plane_is_no_grid() {
        let loss = [vec![Some(1.0)]];
        for axis in [&[0.0][..], &[], &[0.0, 0.0], &[0.0, f64::NAN], &[1.0, 0.0]] {
            assert!(Grid::new(axis, &[0.0, 1.0], &loss).is_none(), "{axis:?}");
        }
        // Rows that are too short have no values.
        assert_eq!(Grid::new(&[0.0, 1.0], &[0.0, 1.0], &loss).unwrap().voids(), 3);
    }
}
