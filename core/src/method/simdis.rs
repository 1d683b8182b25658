//! SimDis: a student predicts a teacher's projections, and its own (Gu et al. 2021); without a teacher it is BYOL (Grill
//! et al. 2020).

use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor};

pub use slimclr_run::simdis::{SimdisNetwork, SimdisView};

use super::PretextTask;
use crate::loss::{distill::Output, normalize};

/// Predict projections of two views of each image, by other networks or of the other view.
///
/// A teacher that is trained at the same time has a task of its own, BYOL: to it, its moving average is
/// [`SimdisNetwork::StudentEma`], and it predicts [`SimdisView::SemaDv`].
#[derive(Debug)]
pub struct SimdisTask {
    views: [Tensor<4>; 2],
    /// What each prediction is compared with, the first view's above the second's, `[2 n, d]`; `None` for the student's
    /// own projections of the other view.
    predicted: Vec<Option<Tensor<2>>>,
    targets: Tensor<1, Int>,
}

impl SimdisTask {
    /// Creates the task of predicting what `names` says, given the raw projections of both views, `[n, d]` each, by the
    /// [networks](SimdisView::network) other than the student.
    ///
    /// # Panics
    /// If the projections of such a network are missing.
    pub fn new(
        views: [Tensor<4>; 2],
        names: &[SimdisView],
        projections: &BTreeMap<SimdisNetwork, [Tensor<2>; 2]>,
    ) -> Self {
        let predicted = |name: &SimdisView| {
            if name.network() == SimdisNetwork::Student {
                return None;
            }
            let [first, second] = projections.get(&name.network()).expect("a network to predict projects the views");
            let both = if name.is_of_other_view() { [second, first] } else { [first, second] };
            Some(normalize(Tensor::cat(both.map(Clone::clone).into(), 0)))
        };
        let targets = Tensor::zeros([2 * views[0].dims()[0]], &views[0].device());
        Self { predicted: names.iter().map(predicted).collect(), views, targets }
    }
}

impl PretextTask for SimdisTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    /// Takes the student's raw projections, the first view's rows above the second's, and beside them the predictions
    /// that each name's predictor makes of them, in the order of the names: `[2 n, (1 + names) d]`. The projections are
    /// the embeddings, and the predictions side by side the logits, both of unit length.
    fn output(&self, outputs: Tensor<2>) -> Output {
        let ([rows, columns], parts) = (outputs.dims(), 1 + self.predicted.len());
        let dim = columns / parts;
        let unit = normalize(outputs.reshape([rows * parts, dim])).reshape([rows, columns]);
        Output { embeddings: unit.clone().narrow(1, 0, dim), logits: unit.narrow(1, dim, columns - dim) }
    }

    /// Returns zeros: there are no negatives, so no column is the positive.
    fn targets(&self) -> &Tensor<1, Int> {
        &self.targets
    }

    /// Computes the mean, over names, of the squared distances between prediction and projection, summed over both views
    /// (Grill et al. 2020, equation 2). That of unit vectors is 2 minus twice their inner product.
    fn loss(&self, output: &Output) -> Tensor<1> {
        let [rows, _] = output.logits.dims();
        let images = rows / 2;
        let own = output.embeddings.clone().without_autodiff();
        let of_other_view = Tensor::cat(vec![own.clone().narrow(0, images, images), own.narrow(0, 0, images)], 0);
        let predicted = self.predicted.iter().map(|it| it.clone().unwrap_or_else(|| of_other_view.clone()));
        let products = (output.logits.clone() * Tensor::cat(predicted.collect(), 1)).sum();
        products.mul_scalar(-2.0 / (images * self.predicted.len()) as f64).add_scalar(4.0)
    }
}
