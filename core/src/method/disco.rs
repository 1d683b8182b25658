//! DisCo: MoCo v2, whose embeddings must also equal the teacher's (Gao et al. 2022, section 3).

use burn::tensor::{Int, Tensor};

use super::{Batch, Method, PretextTask, StepContext, Teacher};
use crate::loss::{
    Loss, Quantity,
    contrastive::{cross_entropy, moco_logits},
    distill::Output,
    normalize,
};

/// Tell a view's key from the keys of other images, and embed both views as the teacher does.
#[derive(Debug)]
pub struct DiscoTask {
    /// The views of the query and of the key.
    pub views: [Tensor<4>; 2],
    /// The momentum encoder's embeddings of the second view, `[n, d]`.
    pub keys: Tensor<2>,
    /// The queue of earlier keys, `[d, k]`.
    pub negatives: Tensor<2>,
    /// The teacher's embeddings of the first view, then of the second, of unit length: `[2 n, d]`.
    pub teacher: Tensor<2>,
    /// All zero, `[n]`.
    pub targets: Tensor<1, Int>,
    /// Temperature of the logits.
    pub temperature: f64,
    /// Devices to imitate. In the authors' code each sums the squared errors of its images, and gradients are averaged
    /// over the devices, so the sums are divided by their number.
    pub mse_devices: usize,
    /// Parts of the batch, whose losses are averaged: so their squared errors count as often, to be summed.
    pub parts: usize,
    /// Whether only the squared errors are trained.
    pub only_mse: bool,
}

/// Computes the squared difference of embeddings, `[n, d]` each, summed over batch and dimensions. Returns `[1]`.
pub fn squared_error(student: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    (student - teacher).powi_scalar(2).sum()
}

impl PretextTask for DiscoTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.views
    }

    /// Returns the embeddings of both views, and the logits of the first.
    fn output(&self, outputs: Tensor<2>) -> Output {
        let embeddings = normalize(outputs);
        let queries = embeddings.clone().narrow(0, 0, self.keys.dims()[0]);
        Output { logits: moco_logits(queries, self.keys.clone(), self.negatives.clone()), embeddings }
    }

    fn targets(&self) -> Option<&Tensor<1, Int>> {
        Some(&self.targets)
    }

    /// Reports the squared distance of an embedding from the teacher's, as a mean over both views.
    fn loss(&self, output: &Output) -> Loss {
        let errors = squared_error(output.embeddings.clone(), self.teacher.clone());
        let weighted = errors.clone().mul_scalar(self.parts as f64 / self.mse_devices as f64);
        let loss = if self.only_mse {
            Loss::from(weighted)
        } else {
            let of_keys = cross_entropy(output.logits.clone(), self.targets.clone(), self.temperature);
            Loss::choosing(of_keys).map(|of_keys| weighted + of_keys)
        };
        loss.reporting(Quantity::TeacherDivergence, errors, 1.0 / self.teacher.dims()[0] as f64)
    }

    fn keys(&self) -> Option<Tensor<2>> {
        Some(self.keys.clone())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn devices_weaken_the_squared_errors_but_not_the_cross_entropy() {
        let device = Device::flex();
        let random = |rows| normalize(Tensor::random([rows, 4], Distribution::Normal(0.0, 1.0), &device));
        let mut task = DiscoTask {
            views: [Tensor::zeros([1; 4], &device), Tensor::zeros([1; 4], &device)],
            keys: random(3),
            negatives: random(5).transpose(),
            teacher: random(6),
            targets: Tensor::zeros([3], &device),
            temperature: 0.2,
            mse_devices: 1,
            parts: 1,
            only_mse: true,
        };
        let output = task.output(random(6));
        let loss = |task: &DiscoTask| task.loss(&output).value.into_scalar::<f32>();
        let errors = loss(&task);
        task.only_mse = false;
        let contrast = loss(&task) - errors;
        task.mse_devices = 8;
        assert!((loss(&task) - (contrast + errors / 8.0)).abs() < 1e-5);
    }
}

/// DisCo. The teacher is normalised with batch statistics, as in the authors' code.
#[derive(Debug, Clone)]
pub struct Disco {
    /// The teacher.
    pub teacher: Teacher,
    /// Temperature of the logits.
    pub temperature: f64,
    /// Keys in the queue.
    pub queue: usize,
    /// Devices to imitate ([`DiscoTask::mse_devices`]).
    pub mse_devices: usize,
    /// Whether only the squared errors are trained.
    pub only_mse: bool,
}

impl Method for Disco {
    fn has_keys(&self) -> bool {
        true
    }

    fn queue_length(&self) -> usize {
        self.queue
    }

    fn tasks(&mut self, Batch { views, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let views: [Tensor<4>; 2] = views.try_into().expect("DisCo takes two views");
        let targets = Tensor::zeros([views[0].dims()[0]], &views[0].device());
        let Teacher { encoder, parameters, .. } = &mut self.teacher;
        let mut teach = |view: &Tensor<4>| normalize(step.forward(parameters, 0).project(encoder, view.clone()));
        // In the order of the authors' code, which the running statistics depend on.
        let of_second = teach(&views[1]);
        let of_first = teach(&views[0]);
        let (keys, negatives) = (step.encode_keys(views[1].clone()), step.queue());
        vec![Box::new(DiscoTask {
            views,
            keys,
            negatives,
            teacher: Tensor::cat(vec![of_first, of_second], 0),
            targets,
            temperature: self.temperature,
            mse_devices: self.mse_devices,
            parts: step.parts,
            only_mse: self.only_mse,
        })]
    }
}
