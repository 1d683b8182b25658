//! Directions of the last layers' gradients (paper figure 4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The gradients of the last linear layers at one step, by the names of their weights.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LastLayers {
    /// The two largest singular values of each gradient.
    #[serde(default)]
    pub singular_values: BTreeMap<String, [f64; 2]>,
    /// The inner products of each gradient with itself and those measured before it, oldest first and itself last. They
    /// suffice to compute the principal components.
    #[serde(default)]
    pub products: BTreeMap<String, Vec<f64>>,
}
