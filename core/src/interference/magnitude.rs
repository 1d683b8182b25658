//! Gradient magnitude imbalance (paper figure 3).

use std::ops::Range;

use burn::tensor::{ExecutionError, Tensor};
use slimclr_run::interference::magnitude::GradientNorms;

use crate::{
    gradient::GradientSum,
    layout::{Layout, ParameterSpec},
    width::{Channels, Widths},
};

/// Measures the gradient of a whole step, reading the device once.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If no weight has a gradient yet: there is nothing to measure before a backward pass.
pub async fn gradient_norms(layout: &Layout, gradients: &GradientSum) -> Result<GradientNorms, ExecutionError> {
    let widths = layout.widths();
    let means = (0..widths.len()).map(|index| {
        let norms: Vec<Tensor<1>> = layout
            .iter()
            .filter(|(_, spec)| spec.is_weight())
            .filter_map(|(id, spec)| Some((gradients.get(id)?, measured(spec, widths, index))))
            .map(|(gradient, slice)| gradient.clone().slice(slice).powi_scalar(2).sum().sqrt())
            .collect();
        Tensor::cat(norms, 0).mean()
    });
    let norms: Vec<f64> = Tensor::cat(means.collect(), 0).into_data_async().await?.iter().collect();
    let (full, narrowest) = (norms[0], norms[norms.len() - 1]);
    let rest = (full.powi(2) - narrowest.powi(2)).max(0.0).sqrt();
    Ok(GradientNorms { norms, rest })
}

/// Returns the slice of a weight's gradient that counts for a width, as the authors measure it: linear layers keep all
/// their output rows (the head's last layer has them all anyway), and a switchable layer of any width counts with the
/// leading share of its columns.
fn measured(spec: &ParameterSpec, widths: &Widths, index: usize) -> [Range<usize>; 4] {
    let shared = ParameterSpec { only_width: None, ..spec.clone() };
    let [rows, inputs, height, width] = shared.slice(widths, index).expect("every width uses a shared weight");
    let rows = if spec.rank == 2 { 0..spec.outputs.full() } else { rows };
    let inputs = match spec.only_width {
        Some(_) => Channels::Slim(spec.inputs.full()).range(widths, index),
        None => inputs,
    };
    [rows, inputs, height, width]
}
