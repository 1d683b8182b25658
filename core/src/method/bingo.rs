//! BINGO: images that the teacher finds similar share a bag, and the student learns to embed those of a bag alike (Xu
//! et al. 2022, section 3).

mod bags;
mod cut_mix;

use burn::tensor::{Int, Tensor};

pub use self::{
    bags::{BagsError, most_similar},
    cut_mix::CutMix,
};
use super::{Batch, Method, PretextTask, StepContext, Teacher};
use crate::loss::{
    Loss,
    contrastive::{cross_entropy, moco_logits},
    distill::Output,
    normalize,
};

/// The last epoch, counted from 0, in which a view is compared with its own image's key alone.
const LAST_EPOCH_ALONE: u64 = 10;

/// Returns the weights in `epoch`, counted from 0, of a view's own image's key and of that of the bag's other image.
/// `later` are those of the epochs after the first eleven.
pub fn key_weights(epoch: u64, later: [f64; 2]) -> [f64; 2] {
    if epoch > LAST_EPOCH_ALONE { later } else { [1.0, 0.0] }
}

/// Tell the keys of an image and of another one of its bag from those of other images, with a view of either and with
/// one that has parts of both.
#[derive(Debug)]
pub struct BingoTask {
    /// Views of the image, of the other image of its bag, and the first with a box of the second.
    pub views: [Tensor<4>; 3],
    /// The teacher's embeddings of other views of the image and of the other image, of unit length: `[n, d]` each.
    pub keys: [Tensor<2>; 2],
    /// The queue of the images' earlier keys, `[d, k]`.
    pub negatives: Tensor<2>,
    /// All zero, `[2 n]`.
    pub targets: Tensor<1, Int>,
    /// The weights of a view's own image's key and of the other one ([`key_weights`]).
    pub key_weights: [f64; 2],
    /// The share of the third view that shows the image ([`CutMix::share`]).
    pub share: f64,
    /// Temperature of the logits.
    pub temperature: f64,
}

impl BingoTask {
    fn images(&self) -> usize {
        self.keys[0].dims()[0]
    }

    /// Computes the mean cross-entropy of telling each query's key from the queue, `[1]`.
    fn contrast(&self, queries: Tensor<2>, keys: Tensor<2>) -> Tensor<1> {
        let targets = self.targets.clone().narrow(0, 0, keys.dims()[0]);
        cross_entropy(moco_logits(queries, keys, self.negatives.clone()), targets, self.temperature).loss
    }

    /// Computes the loss of the third views, `[1]`: each of the two keys counts by its image's share of the view.
    pub fn mix_loss(&self, output: &Output) -> Tensor<1> {
        let images = self.images();
        let mixed = output.embeddings.clone().narrow(0, 2 * images, images);
        let [of_image, of_other] = self.keys.clone().map(|keys| self.contrast(mixed.clone(), keys));
        of_image.mul_scalar(self.share) + of_other.mul_scalar(1.0 - self.share)
    }
}

impl PretextTask for BingoTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    /// Returns the embeddings of all views, and the logits of the first two with their own images' keys.
    fn output(&self, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        let unmixed = embeddings.clone().narrow(0, 0, 2 * self.images());
        let keys = Tensor::cat(self.keys.to_vec(), 0);
        Output { logits: moco_logits(unmixed, keys, self.negatives.clone()), embeddings }
    }

    fn targets(&self) -> Option<&Tensor<1, Int>> {
        Some(&self.targets)
    }

    /// Computes a third of the sum of the three views' losses. The losses of the first two are means of `n` rows, so the
    /// mean of their `2 n` rows counts twice. Reports how well these find their own image's key.
    fn loss(&self, output: &Output) -> Loss {
        let [own, other] = self.key_weights;
        let with_own = cross_entropy(output.logits.clone(), self.targets.clone(), self.temperature);
        Loss::choosing(with_own).map(|with_own| {
            let loss = self.mix_loss(output) + with_own.mul_scalar(2.0 * own);
            let loss = if other == 0.0 {
                loss
            } else {
                let unmixed = output.embeddings.clone().narrow(0, 0, 2 * self.images());
                let [of_image, of_other] = self.keys.clone();
                let with_other = self.contrast(unmixed, Tensor::cat(vec![of_other, of_image], 0));
                loss + with_other.mul_scalar(2.0 * other)
            };
            loss.div_scalar(3.0)
        })
    }

    fn keys(&self) -> Option<Tensor<2>> {
        Some(self.keys[0].clone())
    }
}

/// The published weights of a view's own image's key and of the other one's, after the first eleven epochs.
pub const KEY_WEIGHTS: [f64; 2] = [0.5, 0.5];

/// BINGO. The teacher computes the keys, and is normalised with batch statistics, as in the authors' code.
#[derive(Debug, Clone)]
pub struct Bingo {
    /// The teacher.
    pub teacher: Teacher,
    /// Temperature of the logits.
    pub temperature: f64,
    /// Keys in the queue.
    pub queue: usize,
    /// The weights of a view's own image's key and of the other one's, after the first eleven epochs.
    pub key_weights: [f64; 2],
}

impl Bingo {
    /// Makes the task of a batch's four views: query and key of the image, then of a member of its bag. `cut` is the box
    /// that the third view has of the other image.
    pub fn task(&mut self, views: [Tensor<4>; 4], cut: &CutMix, step: &StepContext) -> BingoTask {
        let [query, key, other_query, other_key] = views;
        let images = query.dims()[0];
        let Teacher { encoder, parameters, .. } = &mut self.teacher;
        let mut teach = |views| normalize(step.forward(parameters, 0).project(encoder, views));
        let shuffle = step.shuffle(images, &query.device());
        let keys = [key, other_key].map(|views| shuffle.apply(views, &mut teach));
        let mixed = cut.paste(other_query.clone(), query.clone());
        BingoTask {
            targets: Tensor::zeros([2 * images], &query.device()),
            views: [query, other_query, mixed],
            keys,
            negatives: step.queue(),
            key_weights: key_weights(step.plan.epoch as u64, self.key_weights),
            share: cut.share,
            temperature: self.temperature,
        }
    }
}

impl Method for Bingo {
    fn queue_length(&self) -> usize {
        self.queue
    }

    fn tasks(&mut self, Batch { views, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let views: [Tensor<4>; 4] = views.try_into().expect("BINGO takes four views");
        let [_, _, height, width] = views[0].dims();
        let cut = CutMix::draw([height, width], &mut step.random());
        vec![Box::new(self.task(views, &cut, step))]
    }
}
