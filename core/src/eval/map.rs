//! Maps of features: images projected onto the two principal components of one width's features.

use slimclr_run::interference::eigen::{dot, leading_pairs};

/// A plane that one width's features are projected onto.
#[derive(Debug, Clone)]
pub struct Map {
    mean: Vec<f64>,
    /// The directions of the plane.
    axes: [Vec<f64>; 2],
    /// The share of the features' variance along each principal component.
    pub explained: [f64; 2],
}

impl Map {
    /// Computes the plane of the two largest principal components of `features`, one row per image, all of the same
    /// length.
    pub fn new(features: &[Vec<f32>]) -> Self {
        let length = features.first().map_or(0, Vec::len);
        let count = features.len().max(1) as f64;
        let mean: Vec<f64> =
            (0..length).map(|at| features.iter().map(|row| f64::from(row[at])).sum::<f64>() / count).collect();
        let centred: Vec<Vec<f64>> = features.iter().map(|row| centre(row, &mean)).collect();
        let covariance = |direction: &[f64]| {
            let mut product = vec![0.0; length];
            for row in &centred {
                let along = dot(row, direction);
                product.iter_mut().zip(row).for_each(|(sum, value)| *sum += along * value);
            }
            product
        };
        let total: f64 = centred.iter().map(|row| dot(row, row)).sum();
        let pairs = leading_pairs(length, covariance);
        let explained = pairs.each_ref().map(|pair| if total > 0.0 { pair.value / total } else { 0.0 });
        Self { mean, axes: pairs.map(|pair| pair.vector), explained }
    }

    /// Projects a feature onto the plane.
    pub fn place(&self, feature: &[f32]) -> [f64; 2] {
        let centred = centre(feature, &self.mean);
        self.axes.each_ref().map(|axis| dot(axis, &centred))
    }

    /// Rotates, and if necessary mirrors, the plane so that `points` of this map come as close as possible to `others`,
    /// the same images on another map. Principal components have arbitrary signs and order. (Orthogonal Procrustes,
    /// Schönemann 1966.)
    pub fn turned_towards(self, points: &[[f64; 2]], others: &[[f64; 2]]) -> Self {
        let sum = |row: usize, column: usize| -> f64 {
            points.iter().zip(others).map(|(point, other)| other[row] * point[column]).sum()
        };
        let [a, b, c, d] = [sum(0, 0), sum(0, 1), sum(1, 0), sum(1, 1)];
        // The best rotation and the best reflection; the one with the greater trace wins.
        let (rotation, reflection) = ([a + d, c - b], [a - d, c + b]);
        let length = |[x, y]: [f64; 2]| x.hypot(y);
        let (best, sign) = if length(rotation) >= length(reflection) { (rotation, 1.0) } else { (reflection, -1.0) };
        if length(best) == 0.0 {
            return self;
        }
        let [cos, sin] = best.map(|x| x / length(best));
        let turned = |x: f64, y: f64| {
            let mix = |(one, other): (&f64, &f64)| x * one + y * other;
            self.axes[0].iter().zip(&self.axes[1]).map(mix).collect::<Vec<f64>>()
        };
        let axes = [turned(cos, -sign * sin), turned(sin, sign * cos)];
        Self { axes, ..self }
    }
}

fn centre(feature: &[f32], mean: &[f64]) -> Vec<f64> {
    feature.iter().zip(mean).map(|(value, mean)| f64::from(*value) - mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Features with large variance along one direction, less along another, and none along the third.
    fn features() -> Vec<Vec<f32>> {
        (0..40).map(|i| [(i as f32 * 0.7).sin() * 4.0, (i as f32 * 1.3).cos(), 3.0].to_vec()).collect()
    }

    fn points(map: &Map, features: &[Vec<f32>]) -> Vec<[f64; 2]> {
        features.iter().map(|feature| map.place(feature)).collect()
    }

    #[test]
    fn a_plane_with_all_variance_keeps_distances() {
        let features = features();
        let map = Map::new(&features);
        assert!((map.explained[0] + map.explained[1] - 1.0).abs() < 1e-6 && map.explained[0] > map.explained[1]);
        let points = points(&map, &features);
        for (a, b) in [(0, 1), (3, 17), (20, 39)] {
            let on_map = (points[a][0] - points[b][0]).hypot(points[a][1] - points[b][1]);
            let apart: f32 = features[a].iter().zip(&features[b]).map(|(a, b)| (a - b).powi(2)).sum();
            assert!((on_map - f64::from(apart.sqrt())).abs() < 1e-4, "{on_map} {apart}");
        }
    }

    #[test]
    fn rotated_and_mirrored_maps_are_aligned() {
        let features = features();
        let map = Map::new(&features);
        let own = points(&map, &features);
        for (mirror, angle) in [(1.0, 0.4_f64), (-1.0, 2.5), (1.0, -3.0), (-1.0, 0.0)] {
            let (sin, cos) = angle.sin_cos();
            let others: Vec<[f64; 2]> =
                own.iter().map(|[x, y]| [cos * x - mirror * sin * y, sin * x + mirror * cos * y]).collect();
            let turned = points(&map.clone().turned_towards(&own, &others), &features);
            for (turned, other) in turned.iter().zip(&others) {
                assert!((turned[0] - other[0]).hypot(turned[1] - other[1]) < 1e-6, "{turned:?} {other:?}");
            }
        }
    }

    #[test]
    fn no_features_and_one_feature_have_a_map() {
        assert_eq!(Map::new(&[]).explained, [0.0, 0.0]);
        assert_eq!(Map::new(&[vec![1.0, 2.0]]).place(&[1.0, 2.0]), [0.0, 0.0]);
    }
}
