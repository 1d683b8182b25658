//! Values on a grid, and their contour lines.

use std::collections::BTreeMap;

use crate::plot::scale::{Scale, drawable};

/// Values on a rectangular grid.
#[derive(Debug)]
pub struct Grid<'a> {
    /// Coordinates of the columns, ascending.
    pub x: &'a [f64],
    /// Coordinates of the rows, ascending.
    pub y: &'a [f64],
    values: &'a [Vec<Option<f64>>],
}

impl<'a> Grid<'a> {
    /// A grid of `values`, with one row for each `y`; `None` unless both axes ascend and have at least two coordinates.
    pub fn new(x: &'a [f64], y: &'a [f64], values: &'a [Vec<Option<f64>>]) -> Option<Self> {
        let ascends = |axis: &[f64]| {
            axis.len() >= 2 && axis.iter().all(|v| drawable(*v)) && axis.windows(2).all(|pair| pair[0] < pair[1])
        };
        (ascends(x) && ascends(y)).then_some(Self { x, y, values })
    }

    /// Returns the value at a column and a row, or `None` if it is missing or cannot be drawn.
    pub fn value(&self, column: usize, row: usize) -> Option<f64> {
        self.values.get(row)?.get(column).copied().flatten().filter(|value| drawable(*value))
    }

    /// Returns all values that can be drawn.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        (0..self.y.len()).flat_map(move |row| (0..self.x.len()).filter_map(move |column| self.value(column, row)))
    }

    /// Returns the number of grid points without a value.
    pub fn missing(&self) -> usize {
        self.x.len() * self.y.len() - self.values().count()
    }

    /// Returns the lower left and the upper right corner, half a cell beyond the outer grid points.
    pub fn corners(&self) -> [[f64; 2]; 2] {
        let [x, y] = [self.x, self.y].map(borders);
        [[x[0], y[0]], [x[x.len() - 1], y[y.len() - 1]]]
    }

    /// Returns the contour lines at `level`, by marching squares. Values are interpolated linearly on `scale`, so
    /// logarithmically on a logarithmic one.
    pub fn contours(&self, scale: &Scale, level: f64) -> Vec<Vec<(f64, f64)>> {
        let Some(level) = scale.position(level) else { return Vec::new() };
        let height = |column, row| scale.position(self.value(column, row)?);
        // A crossing is identified by the grid point where its edge starts, and whether the edge is horizontal.
        let mut crossings: BTreeMap<EdgeId, Crossing> = BTreeMap::new();
        for row in 0..self.y.len() - 1 {
            for column in 0..self.x.len() - 1 {
                let corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)];
                let [Some(a), Some(b), Some(c), Some(d)] = corners.map(|(column, row)| height(column, row)) else {
                    continue;
                };
                let heights = [a, b, c, d];
                let edges: [EdgeId; 4] =
                    [(column, row, true), (column + 1, row, false), (column, row + 1, true), (column, row, false)];
                let crossed: Vec<usize> =
                    (0..4).filter(|side| (heights[*side] >= level) != (heights[(side + 1) % 4] >= level)).collect();
                let pairs = match crossed[..] {
                    [one, other] => vec![(one, other)],
                    // A saddle: the value in the middle decides which corners are connected.
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
                    crossings.entry(edges[side]).or_insert(Crossing { at, next: Vec::new() });
                }
                for (one, other) in pairs {
                    for (from, to) in [(one, other), (other, one)] {
                        if let Some(crossing) = crossings.get_mut(&edges[from]) {
                            crossing.next.push(edges[to]);
                        }
                    }
                }
            }
        }
        let mut lines = Vec::new();
        // Open lines are followed from their ends; the remaining ones are closed.
        let ends: Vec<_> =
            crossings.iter().filter(|(_, crossing)| crossing.next.len() == 1).map(|(edge, _)| *edge).collect();
        let others: Vec<_> = crossings.keys().copied().collect();
        for start in ends.into_iter().chain(others) {
            let Some(Crossing { at, next }) = crossings.remove(&start) else { continue };
            let mut line = vec![at];
            let mut ahead = next;
            while let Some(crossing) = ahead.iter().find_map(|edge| crossings.remove(edge)) {
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

/// An edge between neighbouring grid points: its start, and whether it is horizontal.
type EdgeId = (usize, usize, bool);

/// A point where a contour line crosses an edge, and the edges that it crosses next.
struct Crossing {
    at: (f64, f64),
    next: Vec<EdgeId>,
}

/// Returns the borders of the cells around `points`: half-way between neighbours.
pub fn borders(points: &[f64]) -> Vec<f64> {
    let middles = points.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    let (first, last) = (points[0], points[points.len() - 1]);
    let (head, tail) = (points[1] - first, last - points[points.len() - 2]);
    std::iter::once(first - head / 2.0).chain(middles).chain([last + tail / 2.0]).collect()
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
    fn contours_of_a_bowl_are_closed_circles() {
        let (axis, loss) = bowl();
        let grid = Grid::new(&axis, &axis, &loss).unwrap();
        let scale = Scale::linear([0.0, 200.0]).unwrap();
        let lines = grid.contours(&scale, 49.5);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0][0], lines[0][lines[0].len() - 1]);
        assert!(lines[0].iter().all(|(x, y)| (x.hypot(*y) - 49.5_f64.sqrt()).abs() < 0.05), "{lines:?}");
        // A circle larger than the square leaves an arc in each corner.
        assert_eq!(grid.contours(&scale, 150.5).len(), 4);
        assert!(grid.contours(&scale, 500.0).is_empty());
    }

    #[test]
    fn contours_are_open_at_the_border_and_at_missing_values() {
        let axis = [0.0, 1.0];
        let saddle = [vec![Some(1.0), Some(0.0)], vec![Some(0.0), Some(1.0)]];
        let scale = Scale::linear([0.0, 1.0]).unwrap();
        assert_eq!(Grid::new(&axis, &axis, &saddle).unwrap().contours(&scale, 0.4).len(), 2);
        let (axis, mut loss) = bowl();
        loss[10][17] = None;
        let grid = Grid::new(&axis, &axis, &loss).unwrap();
        let lines = grid.contours(&Scale::linear([0.0, 200.0]).unwrap(), 49.5);
        assert_eq!((lines.len(), grid.missing()), (1, 1));
        assert_ne!(lines[0][0], lines[0][lines[0].len() - 1]);
    }

    #[test]
    fn a_grid_needs_two_ascending_coordinates_on_each_axis() {
        let loss = [vec![Some(1.0)]];
        for axis in [&[0.0][..], &[], &[0.0, 0.0], &[0.0, f64::NAN], &[1.0, 0.0]] {
            assert!(Grid::new(axis, &[0.0, 1.0], &loss).is_none(), "{axis:?}");
        }
        // Values of missing rows and columns are missing.
        assert_eq!(Grid::new(&[0.0, 1.0], &[0.0, 1.0], &loss).unwrap().missing(), 3);
    }
}
