//! The momentum encoder's keys.

use burn::tensor::{Int, Tensor, TensorData};

use super::Queue;
use crate::{
    augment::epoch_order,
    encoder::Encoder,
    forward::{Forward, Mode},
    loss::normalize,
    parameter::Parameters,
    precision::Precision,
};

/// The momentum encoder, as methods use it in a step.
pub struct KeyEncoder<'a> {
    pub(super) encoder: &'a Encoder,
    pub(super) parameters: Option<&'a mut Parameters>,
    pub(super) queue: Option<&'a Queue>,
    pub(super) bn_splits: usize,
    pub(super) precision: Precision,
    /// Seed and round of the shuffle.
    pub(super) shuffle: (u64, u64),
}

impl KeyEncoder<'_> {
    /// Computes the keys of `views`, `[n, d]`, with batch statistics and without a graph.
    ///
    /// If batch-norm statistics are computed over groups, the views are shuffled first. A query and its key are then
    /// normalised with different images, and the statistics leak nothing (MoCo's shuffling batch norm).
    ///
    /// # Panics
    /// If the method has no momentum encoder.
    pub fn encode(&mut self, views: Tensor<4>) -> Tensor<2> {
        let parameters = self.parameters.as_deref_mut().expect("the method has a momentum encoder");
        let mode = Mode::Train { splits: self.bn_splits };
        let mut forward = Forward::new(parameters, 0, mode).in_precision(self.precision);
        if self.bn_splits == 1 {
            return normalize(forward.project(self.encoder, views));
        }
        let (seed, round) = self.shuffle;
        let order = epoch_order(seed, round, views.dims()[0]);
        let mut inverse = vec![0; order.len()];
        for (place, image) in order.iter().enumerate() {
            inverse[*image as usize] = place as u32;
        }
        let [order, inverse] = [order, inverse].map(|order| {
            let count = order.len();
            Tensor::<1, Int>::from_data(TensorData::new(order, [count]), &views.device())
        });
        normalize(forward.project(self.encoder, views.select(0, order))).select(0, inverse)
    }

    /// Returns the keys of earlier batches, `[d, k]`.
    ///
    /// # Panics
    /// If the method has no queue.
    pub fn queue(&self) -> Tensor<2> {
        self.queue.expect("the method has a queue").keys.clone()
    }
}
