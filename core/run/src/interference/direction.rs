//! Directions of the last layers' gradients (paper figure 4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::eigen::{dot, leading_pairs};
use crate::event::Interference;

/// The gradients of the last linear layers at one step, by the names of their weights.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LastLayers {
    /// The two largest singular values of each gradient.
    #[serde(default)]
    pub singular_values: BTreeMap<String, [f64; 2]>,
    /// The inner products of each gradient with itself and those measured before it, oldest first and itself last:
    /// what the principal components come from, without the gradients.
    #[serde(default)]
    pub products: BTreeMap<String, Vec<f64>>,
}

/// The gradients of a layer over training, projected onto their two principal components.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientPath {
    /// The steps at which they were measured.
    pub steps: Vec<u64>,
    /// Their coordinates: the origin is no gradient.
    pub points: Vec<[f64; 2]>,
    /// The share of their variance along each component.
    pub explained: [f64; 2],
}

/// The path of `layer`'s gradient through `measured`, the events of one run in order, from the step `since` on. None if
/// fewer than two have it.
pub fn gradient_path(measured: &[&Interference], layer: &str, since: u64) -> Option<GradientPath> {
    let with_layer = measured.iter().filter_map(|event| Some((event.step, event.last_layers.products.get(layer)?)));
    let all: Vec<(u64, &Vec<f64>)> = with_layer.collect();
    // A run that could not find its earlier gradients again began anew: only those since then belong together.
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

/// The two principal components of vectors with these inner products, each as the combination of the (uncentred) vectors
/// that makes it up, and the share of the variance along it.
pub fn principal_components(products: &[Vec<f64>]) -> ([Vec<f64>; 2], [f64; 2]) {
    let count = products.len() as f64;
    let means: Vec<f64> = products.iter().map(|row| row.iter().sum::<f64>() / count).collect();
    let mean = means.iter().sum::<f64>() / count;
    let centred: Vec<Vec<f64>> = products
        .iter()
        .zip(&means)
        .map(|(row, of_row)| {
            row.iter().zip(&means).map(|(product, of_column)| product - of_row - of_column + mean).collect()
        })
        .collect();
    let variance: f64 = centred.iter().enumerate().map(|(index, row)| row[index]).sum();
    let pairs = leading_pairs(products.len(), |vector| centred.iter().map(|row| dot(row, vector)).collect());
    let explained = pairs.each_ref().map(|pair| if variance > 0.0 { pair.value / variance } else { 0.0 });
    let components = pairs.map(|pair| {
        let length = pair.value.sqrt();
        let mean = pair.vector.iter().sum::<f64>() / count;
        let share = |value: f64| if length > 0.0 { (value - mean) / length } else { 0.0 };
        pair.vector.into_iter().map(share).collect()
    });
    (components, explained)
}
