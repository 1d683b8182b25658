//! What a step offers to its method: the momentum encoder's keys, the queue, the plan.

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{Queue, StepPlan};
use crate::{
    augment::{ViewRng, epoch_order, view_rng},
    encoder::Encoder,
    forward::{Forward, Mode},
    kernel::ranks::Ranks,
    loss::normalize,
    parameter::Parameters,
    precision::Precision,
};

/// A step, as its method sees it.
pub struct StepContext<'a> {
    /// What the step does.
    pub plan: StepPlan,
    /// Precision of convolutions and linear layers.
    pub precision: Precision,
    /// The query encoder's parameters.
    pub query: &'a Parameters,
    /// The ranks that share the batch, of which the method sees this rank's part.
    pub ranks: &'a Ranks,
    /// Parts that the batch is computed in, micro-batches times ranks. The step averages their losses.
    pub parts: usize,
    pub(super) encoder: &'a Encoder,
    pub(super) key: Option<&'a mut Parameters>,
    pub(super) queue: Option<&'a Queue>,
    pub(super) bn_splits: usize,
    /// The ranks over whose images batch statistics are computed.
    pub(super) normalised: Ranks,
    /// Seed and round of the step's random numbers.
    pub(super) shuffle: (u64, u64),
}

impl StepContext<'_> {
    /// Computes the momentum encoder's outputs for `views`, normalised, `[n, d]`: with batch statistics and without a
    /// graph.
    ///
    /// # Panics
    /// If the method has no momentum encoder.
    pub fn encode_keys(&mut self, views: Tensor<4>) -> Tensor<2> {
        self.encode_keys_at(0, views)
    }

    /// Computes [`encode_keys`](Self::encode_keys) at the width at `width`.
    ///
    /// # Panics
    /// If the method has no momentum encoder.
    pub fn encode_keys_at(&mut self, width: usize, views: Tensor<4>) -> Tensor<2> {
        let order = self.shuffle(views.dims()[0], &views.device());
        let parameters = self.key.take().expect("the method has a momentum encoder");
        let mut forward = self.forward(parameters, width);
        let keys = order.apply(views, |views| normalize(forward.project(self.encoder, views)));
        self.key = Some(parameters);
        keys
    }

    /// Creates a pass without a graph through another network than the query encoder, with batch statistics.
    pub fn forward<'b>(&self, parameters: &'b mut Parameters, width: usize) -> Forward<'b> {
        self.as_in_training(Forward::new(parameters, width, self.mode()))
    }

    /// Creates a pass with a graph through another network than the query encoder, with batch statistics.
    pub fn tracked<'b>(&self, parameters: &'b mut Parameters, width: usize) -> Forward<'b> {
        self.as_in_training(Forward::tracked(parameters, width, self.mode()))
    }

    fn as_in_training<'b>(&self, forward: Forward<'b>) -> Forward<'b> {
        forward.in_precision(self.precision).synchronised(self.normalised.clone())
    }

    fn mode(&self) -> Mode {
        Mode::Train { splits: self.bn_splits }
    }

    /// Returns the order in which a network other than the query encoder sees `images` images.
    ///
    /// If batch-norm statistics are computed over groups, the images are shuffled. A query and its key are then
    /// normalised with different images, and the statistics leak nothing (MoCo's shuffling batch norm).
    pub fn shuffle(&self, images: usize, device: &Device) -> Shuffle {
        if self.bn_splits == 1 {
            return Shuffle(None);
        }
        let (seed, round) = self.shuffle;
        let order = epoch_order(seed, round, images);
        let mut inverse = vec![0; order.len()];
        for (place, image) in order.iter().enumerate() {
            inverse[*image as usize] = place as u32;
        }
        let on_device = |order: Vec<u32>| Tensor::from_data(TensorData::new(order, [images]), device);
        Shuffle(Some([order, inverse].map(on_device)))
    }

    /// Returns a generator of random numbers that depend only on the run's seed and the step.
    pub fn random(&self) -> ViewRng {
        let (seed, round) = self.shuffle;
        view_rng(seed, round, u64::MAX, u64::MAX)
    }

    /// Returns the keys of earlier batches, `[d, k]`.
    ///
    /// # Panics
    /// If the method has no queue.
    pub fn queue(&self) -> Tensor<2> {
        self.queue.expect("the method has a queue").keys.clone()
    }
}

/// An order of images and its inverse, or none if they stay in order.
pub struct Shuffle(Option<[Tensor<1, Int>; 2]>);

impl Shuffle {
    /// Applies `encode` to shuffled views, and restores the order of its outputs.
    pub fn apply(&self, views: Tensor<4>, encode: impl FnOnce(Tensor<4>) -> Tensor<2>) -> Tensor<2> {
        match &self.0 {
            None => encode(views),
            Some([order, inverse]) => encode(views.select(0, order.clone())).select(0, inverse.clone()),
        }
    }
}
