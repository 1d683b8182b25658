//! Gradient direction divergence (paper figure 4).

use std::collections::BTreeMap;

use burn::tensor::{ExecutionError, TensorData};
use slimclr_run::interference::{direction::LastLayers, eigen::leading_pairs};

use crate::{
    checkpoint::{CheckpointError, TensorFile},
    gradient::GradientSum,
    layout::Layout,
};

/// The gradients of the last linear layers in one step, `[out, in]` each, by the names of their weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LastGradients(BTreeMap<String, TensorData>);

impl LastGradients {
    /// Reads the gradients from the device, one after the other.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn read(layout: &Layout, gradients: &GradientSum) -> Result<Self, ExecutionError> {
        let mut read = BTreeMap::new();
        for (id, spec) in layout.iter().filter(|(_, spec)| spec.is_weight() && spec.is_of_head()) {
            if let Some(gradient) = gradients.get(id) {
                let rows = gradient.clone().flatten::<2>(1, 3);
                read.insert(spec.name.clone(), rows.into_data_async().await?.convert::<f32>());
            }
        }
        Ok(Self(read))
    }

    /// Measures the gradients without earlier ones.
    pub fn measure(&self) -> LastLayers {
        let each = || self.0.iter();
        LastLayers {
            singular_values: each().map(|(name, gradient)| (name.clone(), singular_values(gradient))).collect(),
            products: each().map(|(name, own)| (name.clone(), vec![product(values(own), values(own))])).collect(),
        }
    }

    /// Adds to `measured`, from [`measure`](Self::measure), the inner products with `earlier` gradients. Call it for
    /// the oldest first.
    pub fn relate(&self, earlier: &Self, measured: &mut LastLayers) {
        for (name, own) in &self.0 {
            if let (Some(other), Some(products)) = (earlier.0.get(name), measured.products.get_mut(name)) {
                products.insert(products.len() - 1, product(values(own), values(other)));
            }
        }
    }

    /// Writes a safetensors file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self) -> Result<Vec<u8>, CheckpointError> {
        let mut file = TensorFile::default();
        for (name, gradient) in &self.0 {
            file.add_data(name.clone(), gradient.shape().to_vec(), gradient.clone());
        }
        file.finish(None)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If `file` is not such a file.
    pub fn load(file: &[u8]) -> Result<Self, CheckpointError> {
        Ok(Self(TensorFile::read(file)?))
    }
}

fn values(gradient: &TensorData) -> &[f32] {
    gradient.as_slice().expect("gradients are kept in 32 bits")
}

/// Returns the inner product, in 64 bits.
fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Computes the two largest singular values of a matrix.
fn singular_values(matrix: &TensorData) -> [f64; 2] {
    let (columns, values) = (matrix.shape()[1], values(matrix));
    let squared = |vector: &[f64]| {
        let mut image = vec![0.0; columns];
        for row in values.chunks_exact(columns) {
            let share: f64 = row.iter().zip(vector).map(|(value, x)| f64::from(*value) * x).sum();
            image.iter_mut().zip(row).for_each(|(sum, value)| *sum += share * f64::from(*value));
        }
        image
    };
    leading_pairs(columns, squared).map(|pair| pair.value.sqrt())
}

#[cfg(test)]
mod tests {
    use slimclr_run::{event::Interference, interference::path::gradient_path};

    use super::*;

    fn gradients(values: &[f32], shape: [usize; 2]) -> LastGradients {
        LastGradients([("fc.weight".to_owned(), TensorData::new(values.to_vec(), shape))].into())
    }

    #[test]
    fn singular_values_are_those_of_the_matrix() {
        // diag(3, 4, 1) between two rotations.
        let (cosine, sine) = (0.6, 0.8);
        let left = [[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]];
        let values: Vec<f32> = left.iter().flat_map(|row| [row[0] * 3.0, row[1] * 4.0, row[2]]).collect();
        let [first, second] = gradients(&values, [3, 3]).measure().singular_values["fc.weight"];
        assert!((first - 4.0).abs() < 1e-6 && (second - 3.0).abs() < 1e-6, "{first} {second}");
    }

    #[test]
    fn a_path_in_a_plane_is_recovered_up_to_its_axes() {
        // A spiral in the plane of two unit vectors of 6 dimensions.
        let places: Vec<[f32; 2]> =
            (0..20).map(|n| n as f32 / 4.0).map(|t| [3.0 * t * t.cos() + 5.0, t * t.sin()]).collect();
        let mut earlier: Vec<LastGradients> = Vec::new();
        let mut events = Vec::new();
        for (step, [x, y]) in (1..).zip(&places) {
            let now = gradients(&[0.6 * x, 0.0, *y, 0.0, 0.8 * x, 0.0], [2, 3]);
            let mut last_layers = now.measure();
            earlier.iter().for_each(|earlier| now.relate(earlier, &mut last_layers));
            events.push(Interference { step, last_layers, ..Interference::default() });
            // A step with NaN gradients stores none.
            earlier.push(LastGradients::default());
            earlier.push(LastGradients::load(&now.save().unwrap()).unwrap());
        }
        let events: Vec<&Interference> = events.iter().collect();
        let path = gradient_path(&events, "fc.weight", 0).unwrap();
        assert_eq!(path.steps, (1..=20).collect::<Vec<_>>());
        assert!((path.explained.iter().sum::<f64>() - 1.0).abs() < 1e-6 && path.explained[0] > path.explained[1]);
        for (a, b) in [(0, 7), (3, 19), (10, 11)] {
            let distance = |points: [[f64; 2]; 2]| (points[0][0] - points[1][0]).hypot(points[0][1] - points[1][1]);
            let true_ones = distance([places[a], places[b]].map(|point| point.map(f64::from)));
            assert!((distance([path.points[a], path.points[b]]) - true_ones).abs() < 1e-4);
        }
        // The origin is the zero gradient, not the mean.
        let length = |[x, y]: [f64; 2]| x.hypot(y);
        assert!((length(path.points[0]) - length(places[0].map(f64::from))).abs() < 1e-4);

        let late = gradient_path(&events, "fc.weight", 18).unwrap();
        assert_eq!((late.steps, late.points.len()), (vec![18, 19, 20], 3));
        assert_eq!(gradient_path(&events, "fc.weight", 20), None);
        assert_eq!(gradient_path(&events[..1], "fc.weight", 0), None);
        assert_eq!(gradient_path(&events, "fc.2.weight", 0), None);
        // After a restart, only later gradients form a path.
        let anew = Interference { step: 21, last_layers: earlier[1].measure(), ..Interference::default() };
        assert_eq!(gradient_path(&[events[18], events[19], &anew], "fc.weight", 0), None);
        assert_eq!(gradient_path(&[events[0], events[19]], "fc.weight", 0), None);
    }
}
