//! The methods of the paper, and SimCLR.

use std::sync::Arc;

use burn::tensor::{Int, Tensor};

use super::{Batch, KeyEncoder, Method, MethodKind, PretextTask};
use crate::{
    config::Config,
    loss::{
        contrastive::{cross_entropy, moco_logits, mocov3_logits, simclr_logits, simclr_targets},
        distill::Output,
        normalize,
    },
};

/// Returns the method that `config` names.
pub fn from_config(config: &Config) -> Arc<dyn Method> {
    let temperature = config.temperature;
    match config.method {
        MethodKind::Mocov2 => Arc::new(MocoV2 { temperature, queue: config.queue }),
        MethodKind::Mocov3 => Arc::new(MocoV3 { temperature }),
        MethodKind::Simclr => Arc::new(SimClr { temperature }),
        MethodKind::Supervised => Arc::new(Supervised),
    }
}

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

    fn tasks(&self, Batch { views, .. }: Batch, keys: &mut KeyEncoder) -> Vec<PretextTask> {
        let [query, key] = views.try_into().expect("MoCo v2 takes two views");
        let targets = Tensor::zeros([query.dims()[0]], &query.device());
        let positives = keys.encode(key);
        vec![PretextTask { views: vec![query], targets, keys: Some(positives), negatives: Some(keys.queue()) }]
    }

    fn output(&self, task: &PretextTask, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        let [keys, negatives] = [&task.keys, &task.negatives].map(|keys| keys.clone().expect("set by `tasks`"));
        Output { logits: moco_logits(embeddings.clone(), keys, negatives), embeddings }
    }

    fn loss(&self, output: &Output, targets: &Tensor<1, Int>) -> Tensor<1> {
        cross_entropy(output.logits.clone(), targets.clone(), self.temperature)
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

    fn tasks(&self, Batch { views, .. }: Batch, keys: &mut KeyEncoder) -> Vec<PretextTask> {
        let other_keys: Vec<Tensor<2>> = views.iter().map(|view| keys.encode(view.clone())).rev().collect();
        let task = |(view, keys): (Tensor<4>, Tensor<2>)| {
            let targets = Tensor::arange(0..view.dims()[0] as i64, &view.device());
            PretextTask { views: vec![view], targets, keys: Some(keys), negatives: None }
        };
        views.into_iter().zip(other_keys).map(task).collect()
    }

    /// Divides the logits by the temperature here, so that distillation sees them divided.
    fn output(&self, task: &PretextTask, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        let keys = task.keys.clone().expect("set by `tasks`");
        Output { logits: mocov3_logits(embeddings.clone(), keys).div_scalar(self.temperature), embeddings }
    }

    /// Scales the cross-entropy by twice the temperature (Chen et al. 2021, algorithm 1).
    fn loss(&self, output: &Output, targets: &Tensor<1, Int>) -> Tensor<1> {
        cross_entropy(output.logits.clone(), targets.clone(), 1.0).mul_scalar(2.0 * self.temperature)
    }
}

/// SimCLR: contrasts the two views of an image, against all other views of the batch (Chen et al. 2020).
#[derive(Debug, Clone)]
pub struct SimClr {
    /// Temperature of the logits.
    pub temperature: f64,
}

impl Method for SimClr {
    fn tasks(&self, Batch { views, .. }: Batch, _: &mut KeyEncoder) -> Vec<PretextTask> {
        let targets = simclr_targets(views[0].dims()[0], &views[0].device());
        vec![PretextTask { views, targets, keys: None, negatives: None }]
    }

    fn output(&self, _: &PretextTask, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        Output { logits: simclr_logits(embeddings.clone()), embeddings }
    }

    fn loss(&self, output: &Output, targets: &Tensor<1, Int>) -> Tensor<1> {
        cross_entropy(output.logits.clone(), targets.clone(), self.temperature)
    }
}

/// Classification with labels (Yu et al. 2019).
#[derive(Debug, Clone)]
pub struct Supervised;

impl Method for Supervised {
    fn tasks(&self, Batch { views, labels }: Batch, _: &mut KeyEncoder) -> Vec<PretextTask> {
        vec![PretextTask { views, targets: labels, keys: None, negatives: None }]
    }

    fn output(&self, _: &PretextTask, outputs: Tensor<2>) -> Output {
        Output { embeddings: outputs.clone(), logits: outputs }
    }

    fn loss(&self, output: &Output, targets: &Tensor<1, Int>) -> Tensor<1> {
        cross_entropy(output.logits.clone(), targets.clone(), 1.0)
    }
}
