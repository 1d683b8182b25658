//! MoCo's queue of earlier keys (He et al. 2020, section 3.2).

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

use crate::loss::normalize;

/// The keys of earlier batches, oldest replaced first.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Unit vectors, one per column: `[d, k]`.
    pub keys: Tensor<2>,
    /// The column that the next batch of keys begins at.
    pub pointer: usize,
}

impl Queue {
    /// Creates a queue of `length` random unit vectors of `dim` dimensions.
    pub fn random(dim: usize, length: usize, seed: u64, device: &Device) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let keys: Vec<f32> = (0..dim * length).map(|_| random.sample::<f32, _>(StandardNormal)).collect();
        let keys = Tensor::<2>::from_data(TensorData::new(keys, [length, dim]), device);
        Self { keys: normalize(keys).transpose(), pointer: 0 }
    }

    /// Writes `keys`, `[n, d]`, over the `n` oldest; `n` must divide the queue's length.
    pub fn replace_oldest(&mut self, keys: Tensor<2>) {
        let [dim, length] = self.keys.dims();
        let (start, end) = (self.pointer, self.pointer + keys.dims()[0]);
        self.keys.inplace(|queue| queue.slice_assign([0..dim, start..end], keys.transpose()));
        self.pointer = end % length;
    }
}
