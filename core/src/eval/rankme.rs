//! RankMe: how many directions the features use (Garrido et al. 2023, "RankMe: assessing the downstream performance of
//! pretrained self-supervised representations by their rank"). It needs no labels, and falls to 1 when a network
//! collapses.
//!
//! Of features `Z`, `[n, f]`, with singular values `s`, it is the exponential of the entropy of `p = s / sum(s)`:
//!
//! ```text
//! RankMe = exp(-sum_i p_i ln p_i)        between 1 and min(n, f)
//! ```

use burn::tensor::ExecutionError;
use nalgebra::DMatrix;

use super::features::Rows;
use crate::cancellable::on_thread;

/// Images used: the paper finds that a few thousand suffice.
const IMAGES: usize = 4096;
/// Number of values from which the computation is long enough for a separate thread.
const LONG: usize = 1 << 18;

/// Computes RankMe of `features`, `[n, f]`, from at most 4,096 images spread evenly over them; NaN if a feature is NaN.
///
/// # Errors
/// If the device fails.
pub async fn rankme(features: &dyn Rows) -> Result<f64, ExecutionError> {
    let [images, columns] = features.dims();
    let spread: Vec<u32> = (0..images as u32).step_by(images.div_ceil(IMAGES).max(1)).collect();
    let rows = spread.len();
    let values: Vec<f64> = features.select(&spread).into_data_async().await?.iter().collect();
    let compute = move || effective_rank(rows, columns, &values);
    // Seconds for a ResNet-50's 2,048 features.
    Ok(if rows * columns < LONG { compute() } else { on_thread(compute).await })
}

/// Computes RankMe of features in row-major order.
fn effective_rank(rows: usize, columns: usize, values: &[f64]) -> f64 {
    // In 64 bits: squares of small singular values would be lost to rounding in 32.
    let features = DMatrix::from_row_slice(rows, columns, values);
    let gram = if rows < columns { &features * features.transpose() } else { features.tr_mul(&features) };
    if gram.iter().any(|value| !value.is_finite()) {
        return f64::NAN;
    }
    let singular: Vec<f64> = gram.symmetric_eigenvalues().iter().map(|value| value.max(0.0).sqrt()).collect();
    let sum: f64 = singular.iter().sum();
    let entropy: f64 = singular.iter().map(|value| value / sum).filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum();
    entropy.exp()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use futures::executor::block_on;

    use super::*;

    fn of(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> f64 {
        let values: Vec<f32> = (0..rows * columns).map(|at| value(at / columns, at % columns)).collect();
        let features = Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), &Device::flex());
        block_on(rankme(&features)).unwrap()
    }

    #[test]
    fn known_spectra_have_known_ranks() {
        let diagonal = |row: usize, column: usize| if row % 5 == column { 1.0 } else { 0.0 };
        assert!((of(20, 5, diagonal) - 5.0).abs() < 1e-6);
        // Fewer images than features.
        assert!((of(3, 50, diagonal) - 3.0).abs() < 1e-6);
        // Singular values 3 and 1.
        let two = |row: usize, column: usize| if row == column { [3.0, 1.0][row] } else { 0.0 };
        let entropy = -(0.75_f64 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        assert!((of(2, 2, two) - entropy.exp()).abs() < 1e-6);
        assert!(of(2, 2, |_, _| f32::NAN).is_nan());
    }

    #[test]
    fn a_collapsed_network_has_rank_one_whatever_its_width() {
        // One direction, and the rounding of 32 bits around it.
        let collapsed = |row: usize, column: usize| (1.0 + column as f32 / 7.0) * (1.0 + (row % 13) as f32 / 3.0);
        let rank = of(6000, 256, collapsed);
        assert!((1.0..1.01).contains(&rank), "{rank}");
    }
}
