//! Agreement of the widths' gradients on the weights that they share.

use serde::{Deserialize, Serialize};

/// A symmetric matrix with a value for every pair of widths, in width order; `None` if one of the two was not trained,
/// or they share nothing.
pub type Pairs = Vec<Vec<Option<f64>>>;

/// Agreement of the widths' gradients in a part of the network, on the slices that both widths of a pair use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The cosine between the two gradients.
    #[serde(default)]
    pub cosines: Pairs,
    /// The conflict rate: the fraction of weight tensors on which the cosine is negative.
    #[serde(default)]
    pub conflicts: Pairs,
}

/// Agreement and gradient norms in one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageAgreement {
    /// The stage, as the profile names it.
    pub stage: String,
    /// The agreement in it.
    #[serde(flatten)]
    pub agreement: Agreement,
    /// For each width, the l2 norm of its gradient over the stage's weights; `None` if the width was not trained.
    /// Missing in older files.
    #[serde(default)]
    pub norms: Vec<Option<f64>>,
}
