//! SwAV: predicts the prototypes that an image is assigned to in one crop from its other crops (Caron et al. 2020).

mod sinkhorn;

use burn::tensor::{Device, Tensor, TensorData, activation::log_softmax};

pub use self::sinkhorn::Sinkhorn;
use super::{Batch, Method, PretextTask, StateTensor, StepContext, StepPlan};
use crate::{
    encoder::Encoder,
    forward::Forward,
    gradient::GradientSum,
    kernel::ranks::Ranks,
    layout::ParameterId,
    loss::{Loss, distill::Output, normalize},
    parameter::Parameters,
};

/// The embeddings of earlier batches, which take part in the assignments of small batches.
#[derive(Debug, Clone)]
pub struct SwavQueue {
    /// For each assigning crop the embeddings, `[q, d]`, newest batch first; zeros at first.
    pub rows: Vec<Tensor<2>>,
    /// Embeddings that have entered it, for each of these crops.
    pub entered: usize,
}

impl SwavQueue {
    /// Creates an empty queue of `length` embeddings of `dim` values for each of the assigning crops.
    pub fn new(crops: usize, length: usize, dim: usize, device: &Device) -> Self {
        Self { rows: (0..crops).map(|_| Tensor::zeros([length, dim], device)).collect(), entered: 0 }
    }

    /// Returns the scores of the queue's embeddings, `[q, p]` for each assigning crop, if the queue is in use.
    /// `prototypes` are the normalised ones, `[p, d]`.
    ///
    /// The authors use a queue once its last row is not all zero. Rows are filled in order with
    /// embeddings of unit length, so this is when as many have entered as there are rows. Counting them needs no readback
    /// from the device. All crops enter together, so the authors' rule that one full queue enables the others never matters.
    pub fn scores(&self, prototypes: &Tensor<2>) -> Option<Vec<Tensor<2>>> {
        let is_full = self.rows.iter().all(|rows| rows.dims()[0] <= self.entered);
        is_full.then(|| self.rows.iter().map(|rows| rows.clone().matmul(prototypes.clone().transpose())).collect())
    }

    /// Puts a batch's embeddings, `[n, d]` for each assigning crop, before all others; the last `n` rows leave.
    pub fn enqueue(&mut self, embeddings: Vec<Tensor<2>>) {
        self.entered += embeddings.first().map_or(0, |embeddings| embeddings.dims()[0]);
        for (rows, embeddings) in self.rows.iter_mut().zip(embeddings) {
            let [length, _] = rows.dims();
            rows.inplace(|rows| Tensor::cat(vec![embeddings, rows], 0).narrow(0, 0, length));
        }
    }
}

/// Predict the assignment of some crops of an image from each of its other crops.
#[derive(Debug)]
pub struct SwavTask {
    /// Crops of the same images, `[n, 3, height, width]` each; those of one size are neighbours.
    pub crops: Vec<Tensor<4>>,
    /// The size of the embeddings, `d`.
    pub dim: usize,
    /// The crops that assign images to prototypes.
    pub assigning: Vec<usize>,
    /// The [scores](SwavQueue::scores) of the queue, if it is in use.
    pub queue_scores: Option<Vec<Tensor<2>>>,
    /// How images are assigned.
    pub sinkhorn: Sinkhorn,
    /// Temperature of the predictions.
    pub temperature: f64,
    /// Whether the embeddings of the assigning crops enter the queue.
    pub fills_queue: bool,
    /// The ranks whose images are assigned together.
    pub ranks: Ranks,
}

impl SwavTask {
    /// Returns the assignments, `[n, p]`, by each assigning crop, given the scores of all crops, `[crops n, p]`.
    fn assignments(&self, scores: &Tensor<2>) -> Vec<Tensor<2>> {
        let of_crops = self.assigning.iter().map(|crop| of_crop(scores, *crop, self.crops.len()).without_autodiff());
        let Some(queued) = &self.queue_scores else {
            return of_crops.map(|scores| self.sinkhorn.assign(scores, &self.ranks)).collect();
        };
        let with_queue = |(queued, scores): (&Tensor<2>, Tensor<2>)| {
            // All ranks have the whole queue, which counts once: each adds a part of it.
            let ([all, _], [images, _]) = (queued.dims(), scores.dims());
            let part = all / self.ranks.count();
            let queued = queued.clone().narrow(0, self.ranks.rank() * part, part);
            self.sinkhorn.assign(Tensor::cat(vec![queued, scores], 0), &self.ranks).narrow(0, part, images)
        };
        queued.iter().zip(of_crops).map(with_queue).collect()
    }
}

/// Returns the rows of one of `crops` crops, `[n, c]`, of those of all crops, `[crops n, c]`.
pub fn of_crop(rows: &Tensor<2>, crop: usize, crops: usize) -> Tensor<2> {
    let images = rows.dims()[0] / crops;
    rows.clone().narrow(0, crop * images, images)
}

/// Scales each prototype, a row of the parameter `id`, to unit length.
pub fn normalize_prototypes(parameters: &mut Parameters, id: ParameterId) {
    let range = parameters.layout().packing().range(id);
    let [prototypes, dim, ..] = parameters.layout().spec(id).shape();
    parameters.change_packed(|packed| {
        let rows = packed.clone().slice([range.clone()]).reshape([prototypes, dim]);
        packed.slice_assign([range], normalize(rows).flatten(0, 1))
    });
}

impl PretextTask for SwavTask {
    fn views(&self) -> &[Tensor<4>] {
        &self.crops
    }

    /// Passes the crops of each size through the backbone together, and all of them together through the head, so that
    /// its batch norm sees all sizes, as in the authors' code.
    fn forward(&self, network: &mut Forward, encoder: &Encoder) -> Tensor<2> {
        let of_a_size = self.crops.chunk_by(|a, b| a.dims() == b.dims());
        let features = of_a_size.map(|crops| network.features(encoder, Tensor::cat(crops.to_vec(), 0)));
        let features = Tensor::cat(features.collect(), 0);
        let embeddings = normalize(network.classify(encoder, features));
        Tensor::cat(vec![embeddings.clone(), network.score(encoder, embeddings)], 1)
    }

    /// Takes the embeddings of all crops, of unit length, one crop's rows above the next one's, and beside them their
    /// scores, the inner products with the prototypes: `[crops n, d + p]`. The scores are the logits.
    fn output(&self, outputs: Tensor<2>) -> Output {
        let [_, columns] = outputs.dims();
        let logits = outputs.clone().narrow(1, self.dim, columns - self.dim);
        Output { embeddings: outputs.narrow(1, 0, self.dim), logits }
    }

    /// Computes the cross-entropy of each crop's prediction with the assignment by each other crop, as a mean over the
    /// pairs (Caron et al. 2020, equations 1 and 6). Each width makes its own assignments.
    fn loss(&self, output: &Output) -> Loss {
        let (crops, [rows, _]) = (self.crops.len(), output.logits.dims());
        let assignments = self.assignments(&output.logits);
        let by_other_crops = |crop| {
            let by_others = self.assigning.iter().zip(&assignments).filter(|(assigning, _)| **assigning != crop);
            let sum = by_others.map(|(_, assignment)| assignment.clone()).reduce(|sum, assignment| sum + assignment);
            sum.unwrap_or_else(|| assignments[0].zeros_like())
        };
        let assigned = Tensor::cat((0..crops).map(by_other_crops).collect(), 0);
        let predicted = log_softmax(output.logits.clone().div_scalar(self.temperature), 1);
        let pairs = self.assigning.len() * (crops - 1);
        (assigned * predicted).sum().mul_scalar(-1.0 / (pairs * rows / crops) as f64).into()
    }

    /// Returns the full network's embeddings of each assigning crop, if there is a queue.
    fn memories(&self, outputs: &[Output]) -> Vec<Tensor<2>> {
        let entering = self.assigning.iter().filter(|_| self.fills_queue);
        entering.map(|crop| of_crop(&outputs[0].embeddings, *crop, self.crops.len())).collect()
    }
}

/// SwAV.
#[derive(Debug, Clone)]
pub struct Swav {
    /// The prototypes, a parameter of the encoder.
    pub prototypes: ParameterId,
    /// The size of the embeddings.
    pub dim: usize,
    /// How images are assigned.
    pub sinkhorn: Sinkhorn,
    /// Temperature of the predictions.
    pub temperature: f64,
    /// The queue, if there is one.
    pub queue: Option<SwavQueue>,
    /// The epoch from which on there is a queue.
    pub queue_after: f64,
    /// The epochs in which the prototypes have no gradient.
    pub freeze: f64,
}

/// The crops that assign images to prototypes: the full-size ones.
pub const ASSIGNING: [usize; 2] = [0, 1];

impl Method for Swav {
    fn prepare(&self, query: &mut Parameters) {
        normalize_prototypes(query, self.prototypes);
    }

    fn tasks(&mut self, Batch { views, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        let queue = self.queue.as_ref().filter(|_| step.plan.epoch >= self.queue_after);
        let prototypes: Tensor<2> = step.query.get(self.prototypes).clone().flatten::<3>(2, 3).flatten(1, 2);
        vec![Box::new(SwavTask {
            dim: self.dim,
            assigning: ASSIGNING.into(),
            queue_scores: queue.and_then(|queue| queue.scores(&prototypes)),
            fills_queue: queue.is_some(),
            sinkhorn: self.sinkhorn,
            temperature: self.temperature,
            crops: views,
            ranks: step.ranks.clone(),
        })]
    }

    fn adjust(&self, gradients: GradientSum, plan: StepPlan) -> GradientSum {
        if plan.epoch < self.freeze { gradients.without(self.prototypes) } else { gradients }
    }

    fn remember(&mut self, memories: Vec<Tensor<2>>) {
        if let Some(queue) = &mut self.queue
            && !memories.is_empty()
        {
            queue.enqueue(memories);
        }
    }

    fn state(&self) -> Vec<StateTensor> {
        let Some(SwavQueue { rows, entered }) = &self.queue else { return Vec::new() };
        let of_crop = rows.iter().zip(0..).map(|(rows, crop)| StateTensor::matrix(format!("queue.{crop}"), rows));
        let entered = Tensor::<2>::full([1, 1], *entered as f64, &rows[0].device());
        of_crop.chain([StateTensor::matrix("queue_entered", &entered)]).collect()
    }

    fn restore(&mut self, mut values: Vec<TensorData>, _: u64) {
        let (Some(queue), Some(entered)) = (&mut self.queue, values.pop()) else { return };
        queue.entered = entered.iter::<f32>().next().unwrap_or_default() as usize;
        for (rows, values) in queue.rows.iter_mut().zip(values) {
            *rows = Tensor::from_data(values, &rows.device());
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn a_queue_is_in_use_once_its_last_row_is_not_zero() {
        let device = Device::flex();
        let prototypes = Tensor::<2>::from_data([[1.0]], &device);
        let batch = |value: f32| vec![Tensor::from_data(TensorData::new(vec![value; 2], [2, 1]), &device)];
        // The batch does not divide this queue.
        let mut queue = SwavQueue::new(1, 5, 1, &device);
        let rows = |queue: &SwavQueue| queue.rows[0].clone().into_data().iter().collect::<Vec<f32>>();
        for (value, expected) in [(1.0, vec![1.0, 1.0, 0.0, 0.0, 0.0]), (2.0, vec![2.0, 2.0, 1.0, 1.0, 0.0])] {
            assert!(queue.scores(&prototypes).is_none());
            queue.enqueue(batch(value));
            assert_eq!(rows(&queue), expected);
        }
        assert!(queue.scores(&prototypes).is_none());
        queue.enqueue(batch(3.0));
        assert_eq!(rows(&queue), [3.0, 3.0, 2.0, 2.0, 1.0]);
        assert!(queue.scores(&prototypes).is_some());
    }
}
