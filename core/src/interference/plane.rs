//! Planes through the space of a width's weights, which loss landscapes are drawn over (paper figure 5).
//!
//! That space has the slices of the convolution and linear weights that the width uses. Biases and norms are not part
//! of it, as in the authors' code and in that of Li et al. (2018): they are the centre's everywhere.

use burn::tensor::{Device, ExecutionError, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

use slimclr_run::interference::eigen::principal_components;

use crate::{layout::ParameterId, parameter::Parameters};

/// A component with less of a path's variance than this is rounding: products are taken in 32 bits.
const NEGLIGIBLE: f64 = 1e-6;

/// A plane through the weights of one width, its centre.
#[derive(Debug, Clone)]
pub struct Plane {
    centre: Parameters,
    width: usize,
    /// For each weight that the width uses, its part of both directions: `[2, values]`.
    directions: Vec<(ParameterId, Tensor<2>)>,
}

/// A path, projected onto a plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// The point of the plane nearest to each point of the path.
    pub points: Vec<[f64; 2]>,
    /// The share of the path's variance along each direction.
    pub explained: [f64; 2],
}

impl Plane {
    /// Creates the plane of two random directions, the same for a seed on every device: normal noise, each filter (the
    /// weights of one output channel) scaled to the norm of the centre's (Li et al. 2018). At the coordinates `[1, 0]`,
    /// the weights have moved by their own norm.
    pub fn random(centre: Parameters, width: usize, seed: u64) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let norm = |values: Tensor<3>| values.powi_scalar(2).sum_dim(2).sqrt();
        let ids = centre.layout().iter().filter(|(_, spec)| spec.is_weight()).map(|(id, _)| id);
        let directions = ids.filter_map(|id| {
            let filters: Tensor<2> = centre.slice(id, width)?.flatten(1, 3);
            let [count, values] = filters.dims();
            let noise: Vec<f32> = (0..2 * count * values).map(|_| random.sample(StandardNormal)).collect();
            let noise = Tensor::from_data(TensorData::new(noise, [2, count, values]), &filters.device());
            let scale = norm(filters.unsqueeze()) / norm(noise.clone());
            Some((id, (noise * scale).flatten(1, 2)))
        });
        Self { directions: directions.collect(), centre, width }
    }

    /// Creates the plane that shows most of `path`: its directions are the two principal components of the weights on
    /// it, of length 1. They come from inner products of the points' differences from the centre, tensor by tensor. If
    /// the path has fewer than two components, random directions replace them.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn principal(
        path: &[&Parameters],
        centre: Parameters,
        width: usize,
        seed: u64,
    ) -> Result<Self, ExecutionError> {
        let mut plane = Self::random(centre, width, seed);
        let products = plane.directions.iter().map(|(id, _)| {
            let differences = plane.differences(path, *id);
            differences.clone().matmul(differences.transpose())
        });
        let products = rows(sum(products)).await?;
        let (components, explained) = principal_components(&products);
        for index in 0..plane.directions.len() {
            let (id, random) = plane.directions[index].clone();
            let differences = plane.differences(path, id);
            let directions = components.iter().zip(explained).enumerate().map(|(number, (component, explained))| {
                if explained < NEGLIGIBLE {
                    return random.clone().narrow(0, number, 1);
                }
                let shares: Vec<f32> = component.iter().map(|share| *share as f32).collect();
                let shares = TensorData::new(shares, [1, component.len()]);
                Tensor::from_data(shares, &differences.device()).matmul(differences.clone())
            });
            plane.directions[index].1 = Tensor::cat(directions.collect(), 0);
        }
        let squares = plane.directions.iter().map(|(_, directions)| directions.clone().powi_scalar(2).sum_dim(1));
        let lengths = sum(squares).sqrt();
        for (_, directions) in &mut plane.directions {
            directions.inplace(|directions| directions / lengths.clone());
        }
        Ok(plane)
    }

    /// Projects `path` onto the plane by least squares, because its directions need not be perpendicular. The share of
    /// the variance along a direction is the variance of the weights' projections onto that direction alone, relative
    /// to all their variance, each about its mean. For principal components it is what they explain; a random direction
    /// in a space of many dimensions shows almost nothing of a path.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If the path is empty.
    pub async fn project(&self, path: &[&Parameters]) -> Result<Projection, ExecutionError> {
        let each = || self.directions.iter().map(|(id, directions)| (self.differences(path, *id), directions.clone()));
        let along =
            rows(sum(each().map(|(differences, directions)| differences.matmul(directions.transpose())))).await?;
        let between =
            rows(sum(each().map(|(_, directions)| directions.clone().matmul(directions.transpose())))).await?;
        let variance = sum(each().map(|(differences, _)| {
            let mean = differences.clone().mean_dim(0);
            (differences - mean).powi_scalar(2).sum_dim(1).sum_dim(0)
        }));
        let variance = rows(variance).await?[0][0];

        let [xx, xy, yy] = [between[0][0], between[0][1], between[1][1]];
        let determinant = xx * yy - xy * xy;
        let nearest = |row: &Vec<f64>| {
            // Weights that are all zero give random directions no length.
            if determinant > 0.0 {
                [row[0] * yy - row[1] * xy, row[1] * xx - row[0] * xy].map(|share| share / determinant)
            } else {
                [0.0; 2]
            }
        };
        let explained = [(0, xx), (1, yy)].map(|(index, square)| {
            let mean = along.iter().map(|row| row[index]).sum::<f64>() / along.len() as f64;
            let seen = along.iter().map(|row| (row[index] - mean).powi(2)).sum::<f64>();
            if square * variance > 0.0 { seen / (square * variance) } else { 0.0 }
        });
        Ok(Projection { points: along.iter().map(nearest).collect(), explained })
    }

    /// Returns the weights at a point of the plane; all other parameters are the centre's.
    pub fn at(&self, place: [f64; 2]) -> Parameters {
        let mut parameters = self.centre.clone();
        let layout = parameters.layout().clone();
        for (id, directions) in &self.directions {
            let spec = layout.spec(*id);
            let slice = spec.slice(layout.widths(), self.width).expect("a plane has weights of its width");
            let along = |index: usize| directions.clone().narrow(0, index, 1).mul_scalar(place[index]);
            let step = (along(0) + along(1)).reshape(slice.each_ref().map(|range| range.len()));
            parameters.update(*id, |value| {
                if step.dims() == value.dims() {
                    return value + step;
                }
                let moved = value.clone().slice(slice.clone()) + step;
                value.slice_assign(slice, moved)
            });
        }
        parameters
    }

    /// Copies the plane to another device.
    pub fn to_device(&self, device: &Device) -> Self {
        let directions = self.directions.iter().map(|(id, directions)| (*id, directions.clone().to_device(device)));
        Self { centre: self.centre.to_device(device), width: self.width, directions: directions.collect() }
    }

    /// Computes the differences of the weight at `id` between each point of `path` and the centre: `[points, values]`.
    fn differences(&self, path: &[&Parameters], id: ParameterId) -> Tensor<2> {
        let flat = |parameters: &Parameters| -> Tensor<2> {
            let slice = parameters.slice(id, self.width).expect("a plane has weights of its width");
            slice.flatten::<1>(0, 3).unsqueeze()
        };
        let points = path.iter().map(|point| flat(point)).collect();
        Tensor::cat(points, 0) - flat(&self.centre)
    }
}

/// Sums tensors of one shape. There is at least one, because every network has weights.
fn sum(tensors: impl Iterator<Item = Tensor<2>>) -> Tensor<2> {
    tensors.reduce(|sum, tensor| sum + tensor).expect("every width uses some weights")
}

/// Reads a matrix from its device.
async fn rows(matrix: Tensor<2>) -> Result<Vec<Vec<f64>>, ExecutionError> {
    let [_, columns] = matrix.dims();
    let values: Vec<f64> = matrix.into_data_async().await?.iter().collect();
    Ok(values.chunks(columns).map(<[f64]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use futures::executor::block_on;

    use super::*;
    use crate::config::Config;

    const NARROWEST: usize = 3;

    fn weights(seed: u64) -> Parameters {
        let encoder = Config { dim: 8, multiplier: 1.0, ..Config::mini() }.encoder().unwrap().build().unwrap();
        Parameters::init(encoder.layout().clone(), seed, &Device::flex())
    }

    fn values(parameters: &Parameters, id: ParameterId, width: usize) -> Vec<f32> {
        parameters.slice(id, width).map_or(Vec::new(), |slice| slice.into_data().iter().collect())
    }

    /// Returns `centre` with each weight moved along those of `directions`.
    fn moved(centre: &Parameters, directions: &[Parameters; 2], shares: [f64; 2]) -> Parameters {
        let mut moved = centre.clone();
        for (id, spec) in centre.layout().iter().filter(|(_, spec)| spec.is_weight()) {
            assert!(spec.only_width.is_none());
            for (direction, share) in directions.iter().zip(shares) {
                moved.update(id, |value| value + direction.get(id).clone().mul_scalar(share));
            }
        }
        moved
    }

    fn distance(a: &Parameters, b: &Parameters, width: usize) -> f64 {
        let squares = a.layout().iter().filter(|(_, spec)| spec.is_weight()).map(|(id, _)| {
            let (a, b) = (values(a, id, width), values(b, id, width));
            a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        });
        squares.sum::<f64>().sqrt()
    }

    #[test]
    fn random_filters_have_the_centres_norms() {
        let centre = weights(0);
        let plane = Plane::random(centre.clone(), NARROWEST, 1);
        let norms =
            |filters: Tensor<2>| -> Vec<f32> { filters.powi_scalar(2).sum_dim(1).sqrt().into_data().iter().collect() };
        for (id, directions) in &plane.directions {
            let of_centre: Tensor<2> = centre.slice(*id, NARROWEST).unwrap().flatten(1, 3);
            let expected = norms(of_centre.clone());
            for index in 0..2 {
                let filters = directions.clone().narrow(0, index, 1).reshape(of_centre.dims());
                assert!(
                    norms(filters).iter().zip(&expected).all(|(norm, expected)| (norm / expected - 1.0).abs() < 1e-5)
                );
            }
        }
        let again = Plane::random(centre.clone(), NARROWEST, 1);
        let other = Plane::random(centre.clone(), NARROWEST, 2);
        let at = |plane: &Plane| distance(&plane.at([1.0, 0.5]), &centre, NARROWEST);
        assert!(at(&plane) == at(&again) && at(&plane) != at(&other));
    }

    #[test]
    fn principal_components_recover_the_plane_of_a_path() {
        let (centre, directions) = (weights(0), [weights(1), weights(2)]);
        let places = [[1.0, 0.1], [0.6, -0.2], [0.3, 0.15], [0.1, -0.05], [0.0, 0.0]];
        let path = places.map(|place| moved(&centre, &directions, place));
        let path: Vec<&Parameters> = path.iter().collect();
        let plane = block_on(Plane::principal(&path, centre.clone(), NARROWEST, 0)).unwrap();
        let Projection { points, explained } = block_on(plane.project(&path)).unwrap();
        assert!(explained[0] > 0.8 && explained[1] > 1e-3, "{explained:?}");
        assert!((explained[0] + explained[1] - 1.0).abs() < 1e-4, "{explained:?}");
        assert_eq!(points[4], [0.0, 0.0], "the centre");
        for (point, weights) in points.iter().zip(&path) {
            let from_centre = distance(weights, &centre, NARROWEST);
            assert!((point[0].hypot(point[1]) - from_centre).abs() < 1e-3, "{point:?} {from_centre}");
            assert!(distance(&plane.at(*point), weights, NARROWEST) < 1e-3);
        }
    }

    #[test]
    fn a_path_without_two_components_has_a_plane() {
        let (centre, directions) = (weights(0), [weights(1), weights(2)]);
        let start = moved(&centre, &directions, [1.0, 0.0]);
        for path in [&[&centre][..], &[&start, &centre]] {
            let plane = block_on(Plane::principal(path, centre.clone(), NARROWEST, 0)).unwrap();
            let Projection { points, explained } = block_on(plane.project(path)).unwrap();
            assert!(explained[1] < 0.01, "{explained:?}");
            assert!((distance(&plane.at([0.0, 2.0]), &centre, NARROWEST) - 2.0).abs() < 1e-4);
            assert_eq!(points.last(), Some(&[0.0, 0.0]));
            assert!(distance(&plane.at(points[0]), path[0], NARROWEST) < 1e-2);
        }
    }

    #[test]
    fn points_of_a_random_plane_are_projected_onto_themselves() {
        let centre = weights(0);
        let plane = Plane::random(centre.clone(), NARROWEST, 3);
        let places = [[0.5, -1.0], [0.25, 0.75], [0.0, 0.0]];
        let path = places.map(|place| plane.at(place));
        let path: Vec<&Parameters> = path.iter().collect();
        let Projection { points, explained } = block_on(plane.project(&path)).unwrap();
        for (point, place) in points.iter().zip(places) {
            assert!(point.iter().zip(place).all(|(found, put)| (found - put).abs() < 1e-4), "{point:?} {place:?}");
        }
        assert!((explained[0] + explained[1] - 1.0).abs() < 0.1, "almost perpendicular: {explained:?}");
    }

    #[test]
    fn only_weights_of_the_width_move() {
        let centre = weights(0);
        let there = Plane::random(centre.clone(), NARROWEST, 0).at([1.0, 1.0]);
        let layout = centre.layout();
        for (id, spec) in layout.iter() {
            let [before, after] = [&centre, &there].map(|parameters| values(parameters, id, 0));
            let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            let expected = if spec.is_weight() { layout.count_of(id, NARROWEST) as usize } else { 0 };
            assert_eq!(changed, expected, "{}", spec.name);
        }
    }
}
