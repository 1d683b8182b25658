//! How far the widths' gradients agree on the weights that they share.

use serde::{Deserialize, Serialize};

/// A value for every pair of widths, in width order, symmetric; none where one of the two was not trained, or they share
/// nothing.
pub type Pairs = Vec<Vec<Option<f64>>>;

/// How far the widths' gradients agree in some part of the network, on the slices that both of a pair use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The cosine between the two gradients.
    #[serde(default)]
    pub cosines: Pairs,
    /// The conflict rate: the fraction of weight tensors on which the cosine is negative.
    #[serde(default)]
    pub conflicts: Pairs,
}

/// The same for one stage, with the gradients' magnitudes there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageAgreement {
    /// The stage, as the profile names it.
    pub stage: String,
    /// In it.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// For each width, the l2 norm of its own gradient over the stage's weights, all its slices together; none of widths
    /// that were not trained. Earlier programs did not measure it.
    #[serde(default)]
    pub norms: Vec<Option<f64>>,
}
