//! The runs of the paper's table 4, by which the model is calibrated and checked.

use crate::{config::Config, precision::Precision};

/// Training images of ImageNet.
pub const IMAGENET: usize = 1_281_167;

/// Widths of the paper's runs of MoCo v2 over 200 epochs, and their hours on eight V100 (table 4).
pub const TABLE_4: [(&[f64], f64); 4] =
    [(&[1.0], 19.1), (&[1.0, 0.5], 23.6), (&[1.0, 0.5, 0.25], 26.6), (&[1.0, 0.75, 0.5, 0.25], 33.4)];

/// The fraction of a V100's peaks that the paper's plain run reached, by this model.
pub const PAPER_EFFICIENCY: f64 = 0.299;

/// Returns the options of the paper's run with these widths. It used mixed precision.
pub fn table_4(widths: &[f64]) -> Config {
    Config { widths: widths.to_vec(), precision: Precision::F16, ..Config::imagenet_mocov2() }
}
