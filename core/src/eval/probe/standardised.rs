//! Features that are normalised before the probe, as in CompRess' evaluation.

use std::{ops::Range, rc::Rc};

use burn::tensor::{Device, ExecutionError, Tensor, TensorData};

use crate::{
    eval::features::{Features, Rows, chunks},
    loss::normalize,
};

/// Added to a variance.
const EPSILON: f64 = 1e-5;
/// Images whose features are summed on the device, in its precision. The host adds these sums in 64 bits.
const CHUNK: usize = 4096;
/// How often [`standardised`] reads the training features: for their mean, then for their variance.
pub const PASSES: usize = 2;

/// Scales each image's features to unit length, then each feature by its mean and variance over the training images.
///
/// # Errors
/// If the device fails.
pub async fn standardised(train: &Features, test: &Features) -> Result<[Features; 2], ExecutionError> {
    let [images, _] = train.values.dims();
    let mean = mean(train, images, |x| x).await?;
    // As in the authors' code, the variance is unbiased.
    let centre = mean.clone();
    let variance = self::mean(train, (images - 1).max(1), |x| {
        let centred = x - centre.clone();
        centred.clone() * centred
    });
    let inverse_deviation = variance.await?.add_scalar(EPSILON).sqrt().recip();
    let of = |features: &Features| {
        let (rows, mean, inverse_deviation) = (features.values.clone(), mean.clone(), inverse_deviation.clone());
        Features { values: Rc::new(Standardised { rows, mean, inverse_deviation }), ..features.clone() }
    };
    Ok([of(train), of(test)])
}

/// Computes the sum over images of `values` of the features, scaled to unit length, divided by `count`: `[1, f]`.
async fn mean(
    features: &Features,
    count: usize,
    values: impl Fn(Tensor<2>) -> Tensor<2>,
) -> Result<Tensor<2>, ExecutionError> {
    let [images, columns] = features.values.dims();
    let mut mean = vec![0.0_f64; columns];
    for chunk in chunks(images, CHUNK) {
        let sum = values(normalize(features.values.rows(chunk))).sum_dim(0).into_data_async().await?;
        mean.iter_mut().zip(sum.iter::<f64>()).for_each(|(mean, sum)| *mean += sum / count as f64);
    }
    Ok(Tensor::from_data(TensorData::new(mean, [1, columns]), &features.values.device()))
}

/// Rows that are normalised as they are read.
#[derive(Debug)]
struct Standardised {
    rows: Rc<dyn Rows>,
    /// `[1, f]`.
    mean: Tensor<2>,
    /// `[1, f]`.
    inverse_deviation: Tensor<2>,
}

impl Standardised {
    fn of(&self, rows: Tensor<2>) -> Tensor<2> {
        (normalize(rows) - self.mean.clone()) * self.inverse_deviation.clone()
    }
}

impl Rows for Standardised {
    fn dims(&self) -> [usize; 2] {
        self.rows.dims()
    }

    fn device(&self) -> Device {
        self.rows.device()
    }

    fn rows(&self, range: Range<usize>) -> Tensor<2> {
        self.of(self.rows.rows(range))
    }

    fn select(&self, indices: &[u32]) -> Tensor<2> {
        self.of(self.rows.select(indices))
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn features(rows: &[[f32; 2]]) -> Features {
        let values = Tensor::<2>::from_data(TensorData::new(rows.concat(), [rows.len(), 2]), &Device::flex());
        Features { values: Rc::new(values), labels: vec![0; rows.len()], indices: (0..rows.len()).collect() }
    }

    #[test]
    fn features_have_the_mean_and_variance_of_the_training_images_unit_vectors() {
        // Of unit length: (1, 0), (0.6, 0.8), (0, 1), whatever their length was.
        let (train, test) = (features(&[[4.0, 0.0], [3.0, 4.0], [0.0, 0.5]]), features(&[[30.0, 40.0]]));
        let [train, test] = block_on(standardised(&train, &test)).unwrap();
        let values = |rows: Tensor<2>| rows.into_data().iter().collect::<Vec<f64>>();
        let (first, second) = ([1.0, 0.6, 0.0], [0.0, 0.8, 1.0]);
        let standardised = |column: [f64; 3], value: f64| {
            let mean = column.iter().sum::<f64>() / 3.0;
            let variance = column.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 2.0;
            (value - mean) / (variance + EPSILON).sqrt()
        };
        let expected = |image: usize| [standardised(first, first[image]), standardised(second, second[image])];
        let close = |found: Vec<f64>, expected: [f64; 2]| {
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-5), "{found:?}");
        };
        (0..3).for_each(|image| close(values(train.values.rows(image..image + 1)), expected(image)));
        close(values(train.values.select(&[2])), expected(2));
        close(values(test.values.rows(0..1)), expected(1));
    }
}
