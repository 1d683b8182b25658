//! Equal shares of a batch for all prototypes (Cuturi 2013; Caron et al. 2020, section 3.1).

use burn::tensor::{
    Tensor,
    activation::{log_softmax, softmax},
};

use crate::kernel::ranks::Ranks;

/// The assignment of images to prototypes by Sinkhorn's algorithm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sinkhorn {
    /// Weight of the assignment's entropy: smaller ones make it sharper.
    pub epsilon: f64,
    /// Iterations, at least 1.
    pub iterations: usize,
}

impl Sinkhorn {
    /// Assigns images to prototypes, given the scores of this rank's, `[n, p]`. Each row of the result, `[n, p]`, sums to 1;
    /// the columns' sums over all ranks become equal with more iterations. No gradient passes.
    ///
    /// An iteration divides `exp(scores / epsilon)` by the sum of each column, then by that of each row. The authors also
    /// divide the columns by `p` and the rows by `n`, and multiply the result by `n`, which changes nothing. The first
    /// iteration works on logarithms, so that no scores overflow and no sum vanishes; after it, each row sums to 1.
    pub fn assign(&self, scores: Tensor<2>, ranks: &Ranks) -> Tensor<2> {
        let scores = scores.without_autodiff().div_scalar(self.epsilon);
        let first = softmax(log_shares(scores, ranks), 1);
        (1..self.iterations).fold(first, |shares, _| {
            let of_prototypes = column_sums(shares.clone(), ranks);
            let shares = shares / of_prototypes;
            let of_images = shares.clone().sum_dim(1);
            shares / of_images
        })
    }
}

/// Computes the sum of each column over the rows of all ranks. Shape: `[n, p]` to `[1, p]`.
fn column_sums(shares: Tensor<2>, ranks: &Ranks) -> Tensor<2> {
    let own = shares.sum_dim(0);
    if ranks.is_single() { own } else { ranks.gather(own).sum_dim(0) }
}

/// Computes the log-softmax of each column over the rows of all ranks, for this rank's rows. Shape: `[n, p]`, kept.
fn log_shares(scores: Tensor<2>, ranks: &Ranks) -> Tensor<2> {
    if ranks.is_single() {
        return log_softmax(scores, 0);
    }
    let log_sum = |rows: Tensor<2>| {
        let highest = rows.clone().max_dim(0);
        (rows - highest.clone()).exp().sum_dim(0).log() + highest
    };
    let of_all = log_sum(ranks.gather(log_sum(scores.clone())));
    scores - of_all
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// Returns the sums of the rows and of the columns when 33 images are assigned to 8 prototypes. One image is far from
    /// all of them.
    fn sums(epsilon: f64, iterations: usize) -> [Vec<f32>; 2] {
        let device = Device::flex();
        let scores = Tensor::<2>::random([32, 8], Distribution::Uniform(-1.0, 1.0), &device);
        let scores = Tensor::cat(vec![scores, Tensor::full([1, 8], -1.0, &device)], 0);
        let assigned = Sinkhorn { epsilon, iterations }.assign(scores, &Ranks::default());
        [1, 0].map(|dim| assigned.clone().sum_dim(dim).into_data().iter().collect())
    }

    #[test]
    fn prototypes_get_equal_shares() {
        let [of_images, of_prototypes] = sums(0.25, 50);
        assert!(of_images.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{of_images:?}");
        assert!(of_prototypes.iter().all(|sum| (sum - 33.0 / 8.0).abs() < 0.01), "{of_prototypes:?}");
    }

    /// The exponentials of these scores would overflow, or vanish.
    #[test]
    fn extreme_scores_are_assigned() {
        for iterations in [1, 2, 3, 20] {
            let [of_images, _] = sums(0.002, iterations);
            assert!(of_images.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{of_images:?}");
        }
    }
}
