//! The methods of the paper, and SimCLR.

use burn::tensor::{Int, Tensor};

use super::{Batch, Method, PretextTask, StepContext};
use crate::{
    encoder::Encoder,
    forward::Forward,
    kernel::ranks::Ranks,
    loss::{
        Loss,
        contrastive::{cross_entropy, moco_logits, mocov3_logits, simclr_logits_over, simclr_targets_over},
        distill::Output,
        normalize,
    },
};

/// MoCo v2: contrasts a view with its key, against a queue of negatives (He et al. 2020; Chen et al. 2020).
#[derive(Debug, Clone)]
pub struct MocoV2 {
    /// Temperature of the logits.
    pub temperature: f64,
    /// Keys in the queue.
    pub queue: usize,
}

impl Method for MocoV2 {
    fn has_keys(&self) -> bool {
        true
    }

    fn queue_length(&self) -> usize {
        self.queue
    }

    fn tasks(&mut self, Batch { views, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let [query, key] = views.try_into().expect("MoCo v2 takes two views");
        let targets = Tensor::zeros([query.dims()[0]], &query.device());
        let (keys, negatives) = (step.encode_keys(key), step.queue());
        vec![Box::new(MocoV2Task { views: [query], keys, negatives, targets, temperature: self.temperature })]
    }
}

/// Tell a view's key from the keys of other images.
#[derive(Debug)]
pub struct MocoV2Task {
    /// The view.
    pub views: [Tensor<4>; 1],
    /// The positives, `[n, d]`.
    pub keys: Tensor<2>,
    /// The queue, `[d, k]`.
    pub negatives: Tensor<2>,
    /// All zero.
    pub targets: Tensor<1, Int>,
    /// Temperature of the logits.
    pub temperature: f64,
}

impl PretextTask for MocoV2Task {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    fn output(&self, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        Output { logits: moco_logits(embeddings.clone(), self.keys.clone(), self.negatives.clone()), embeddings }
    }

    fn targets(&self) -> Option<&Tensor<1, Int>> {
        Some(&self.targets)
    }

    fn loss(&self, output: &Output) -> Loss {
        Loss::choosing(cross_entropy(output.logits.clone(), self.targets.clone(), self.temperature))
    }

    fn keys(&self) -> Option<Tensor<2>> {
        Some(self.keys.clone())
    }
}

/// MoCo v3: contrasts each view with the other view's key, against the keys of the batch (Chen et al. 2021).
#[derive(Debug, Clone)]
pub struct MocoV3 {
    /// Temperature of the logits.
    pub temperature: f64,
}

impl Method for MocoV3 {
    fn has_keys(&self) -> bool {
        true
    }

    fn tasks(&mut self, Batch { views, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let mut keys = |view: &Tensor<4>| step.ranks.gather(step.encode_keys(view.clone()));
        let other_keys: Vec<Tensor<2>> = views.iter().map(&mut keys).rev().collect();
        let task = |(view, keys): (Tensor<4>, Tensor<2>)| -> Box<dyn PretextTask> {
            let images = view.dims()[0];
            let first = step.ranks.rank() * images;
            let targets = Tensor::arange(first as i64..(first + images) as i64, &view.device());
            Box::new(MocoV3Task { views: [view], keys, targets, temperature: self.temperature })
        };
        views.into_iter().zip(other_keys).map(task).collect()
    }
}

/// Tell the other view's key from the keys of the batch.
#[derive(Debug)]
pub struct MocoV3Task {
    /// The view.
    pub views: [Tensor<4>; 1],
    /// The keys of the batch, of all ranks: `[ranks n, d]`.
    pub keys: Tensor<2>,
    /// The columns of the keys of the views' own images; of a single rank, the diagonal.
    pub targets: Tensor<1, Int>,
    /// Temperature of the logits.
    pub temperature: f64,
}

impl PretextTask for MocoV3Task {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    /// Divides the logits by the temperature here, so that distillation sees them divided.
    fn output(&self, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        let logits = mocov3_logits(embeddings.clone(), self.keys.clone()).div_scalar(self.temperature);
        Output { logits, embeddings }
    }

    fn targets(&self) -> Option<&Tensor<1, Int>> {
        Some(&self.targets)
    }

    /// Scales the cross-entropy by twice the temperature (Chen et al. 2021, algorithm 1).
    fn loss(&self, output: &Output) -> Loss {
        let loss = Loss::choosing(cross_entropy(output.logits.clone(), self.targets.clone(), 1.0));
        loss.map(|value| value.mul_scalar(2.0 * self.temperature))
    }
}

/// SimCLR: contrasts the two views of an image, against all other views of the batch (Chen et al. 2020).
#[derive(Debug, Clone)]
pub struct SimClr {
    /// Temperature of the logits.
    pub temperature: f64,
}

impl Method for SimClr {
    fn tasks(&mut self, Batch { views, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let (ranks, temperature) = (step.ranks.clone(), self.temperature);
        let targets = simclr_targets_over(&ranks, views[0].dims()[0], &views[0].device());
        vec![Box::new(SimClrTask { ranks, views, targets, temperature })]
    }
}

/// Tell the other view of the same image from the views of other images.
#[derive(Debug)]
struct SimClrTask {
    ranks: Ranks,
    views: Vec<Tensor<4>>,
    targets: Tensor<1, Int>,
    temperature: f64,
}

impl PretextTask for SimClrTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    fn output(&self, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        Output { logits: simclr_logits_over(&self.ranks, embeddings.clone()), embeddings }
    }

    fn targets(&self) -> Option<&Tensor<1, Int>> {
        Some(&self.targets)
    }

    fn loss(&self, output: &Output) -> Loss {
        Loss::choosing(cross_entropy(output.logits.clone(), self.targets.clone(), self.temperature))
    }
}

/// Classification with labels (Yu et al. 2019).
#[derive(Debug, Clone)]
pub struct Supervised {
    /// Whether the backbone stays as it is, and the classifier alone is trained.
    pub frozen_backbone: bool,
}

impl Method for Supervised {
    fn tasks(&mut self, Batch { views, labels, .. }: Batch, _: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        vec![Box::new(Classification { views, labels, frozen_backbone: self.frozen_backbone })]
    }
}

/// Name the class of a view.
#[derive(Debug)]
struct Classification {
    views: Vec<Tensor<4>>,
    labels: Tensor<1, Int>,
    frozen_backbone: bool,
}

impl PretextTask for Classification {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    fn forward(&self, network: &mut Forward, encoder: &Encoder) -> Tensor<2> {
        if !self.frozen_backbone {
            return network.predict_views(encoder, &self.views);
        }
        let classify = |views: &Tensor<4>| {
            let features = network.frozen_features(encoder, views.clone());
            network.classify(encoder, features)
        };
        Tensor::cat(self.views.iter().map(classify).collect(), 0)
    }

    fn output(&self, outputs: Tensor<2>) -> Output {
        Output { embeddings: outputs.clone(), logits: outputs }
    }

    fn targets(&self) -> Option<&Tensor<1, Int>> {
        Some(&self.labels)
    }

    fn loss(&self, output: &Output) -> Loss {
        Loss::choosing(cross_entropy(output.logits.clone(), self.labels.clone(), 1.0))
    }
}
