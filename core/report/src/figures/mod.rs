//! The figures, one file each: what it shows of a run, and its caption.

pub mod accuracy;
pub mod accuracy_by_cost;
pub mod accuracy_by_time;
pub mod agreement;
pub mod gradient_directions;
pub mod gradient_magnitudes;
pub mod loss_landscapes;
mod loss_monitors;
pub mod losses;
pub mod measures;
pub mod stage_norms;

use slimclr_run::event::Evaluated;

use crate::{
    plot::scale::drawable,
    text::{fixed, percent, width},
};

/// How to record what most interference figures show.
const MEASURE: &str = "“slimclr pretrain --interference” measures them";

/// Returns whether a value can be drawn on a logarithmic axis.
fn is_positive(value: f64) -> bool {
    value > 0.0 && drawable(value)
}

/// Returns a warning if a width learned nothing between two evaluations, unless its accuracy was 100 % to begin with.
pub fn learned_nothing(before: &Evaluated, after: &Evaluated) -> Option<String> {
    if before.classifier.or(before.knn) == Some(1.0) || after.has_learned(before)? {
        return None;
    }
    let what = match [(before.classifier, after.classifier), (before.knn, after.knn)] {
        [(Some(from), Some(to)), _] => {
            format!("classifier {} % before training, {} % after", percent(from), percent(to))
        }
        [_, (Some(from), Some(to))] => format!("kNN {} % before training, {} % after", percent(from), percent(to)),
        _ => {
            let cosines = |evaluated: &Evaluated| {
                evaluated
                    .views
                    .map(|it| [it.cosine_same_image, it.cosine_different_images].map(|cosine| fixed(cosine, 2)))
            };
            let ([same, different], [same_after, different_after]) = (cosines(before)?, cosines(after)?);
            format!(
                "cosines {same} (same image) / {different} (different) before, {same_after} / {different_after} after"
            )
        }
    };
    Some(format!("Width {} learned nothing: {what}.", width(after.width)))
}
