//! Paths of the last layers' gradients over training (paper figure 4).

use super::eigen::{dot, principal_components};
use crate::event::Interference;

/// The gradients of a layer over training, projected onto their two principal components.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientPath {
    /// The steps at which they were measured.
    pub steps: Vec<u64>,
    /// Their coordinates; the origin is the zero gradient.
    pub points: Vec<[f64; 2]>,
    /// The share of their variance along each component.
    pub explained: [f64; 2],
}

/// Returns the step after which the large gradients of the initialisation have faded, in a run of this many steps. Before
/// it, they dominate the principal components.
pub fn end_of_transient(steps: u64) -> u64 {
    steps / 20
}

/// Computes the path of `layer`'s gradient through `measured`, the events of one run in order, from the step `since`
/// on. Returns `None` if fewer than two events have it.
pub fn gradient_path(measured: &[&Interference], layer: &str, since: u64) -> Option<GradientPath> {
    let with_layer = measured.iter().filter_map(|event| Some((event.step, event.last_layers.products.get(layer)?)));
    let all: Vec<(u64, &Vec<f64>)> = with_layer.collect();
    // A run that lost its earlier gradients starts a new path; only the latest path counts.
    let rows = &all[all.len().checked_sub(all.last()?.1.len())?..];
    let first = rows.iter().position(|(step, _)| *step >= since)?;
    if rows.len() - first < 2 || rows.iter().zip(1..).any(|((_, products), count)| products.len() != count) {
        return None;
    }
    let product = |a: usize, b: usize| rows[a.max(b)].1[a.min(b)];
    let kept = || first..rows.len();
    let products: Vec<Vec<f64>> = kept().map(|a| kept().map(|b| product(a, b)).collect()).collect();
    let (components, explained) = principal_components(&products);
    // A component is a combination of centred gradients, whose products with the gradients are known.
    let points = products.iter().map(|row| [0, 1].map(|index| dot(row, &components[index]))).collect();
    Some(GradientPath { steps: rows[first..].iter().map(|(step, _)| *step).collect(), points, explained })
}
