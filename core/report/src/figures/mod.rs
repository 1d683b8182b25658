//! The figures, one file each: what it shows of a run, and its caption.

pub mod accuracy;
pub mod accuracy_by_cost;
pub mod agreement;
pub mod gradient_directions;
pub mod gradient_magnitudes;
pub mod loss_landscapes;
pub mod losses;
pub mod stage_norms;

use crate::plot::scale::drawable;

/// How to record what most interference figures show.
const MEASURE: &str = "“slimclr pretrain --interference” measures them";

/// Returns whether a value can be drawn on a logarithmic axis.
fn is_positive(value: f64) -> bool {
    value > 0.0 && drawable(value)
}
