//! The switchable linear probe: how well a linear classifier separates frozen features (spec section 7).

use burn::tensor::{ExecutionError, Int, Tensor, TensorData, activation::softmax};
use serde::{Deserialize, Serialize};

use super::{Accuracy, features::Features};
use crate::{
    augment::epoch_order,
    config::{ConfigError, in_range},
    optim::schedule::{Decay, Schedule},
};

/// Momentum of the probe's SGD.
const MOMENTUM: f64 = 0.9;

/// How the probe is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct ProbeConfig {
    /// Passes of the probe over the training features
    #[cfg_attr(
        feature = "clap",
        arg(id = "probe_epochs", long = "probe-epochs", default_value_t = 100, help_heading = "Linear probe")
    )]
    pub epochs: u64,
    /// Features per step of the probe
    #[cfg_attr(
        feature = "clap",
        arg(id = "probe_batch", long = "probe-batch", default_value_t = 256, help_heading = "Linear probe")
    )]
    pub batch: usize,
    /// Learning rate of the probe; falls to a tenth after 60% and again after 80% of its epochs
    #[cfg_attr(
        feature = "clap",
        arg(id = "probe_rate", long = "probe-rate", default_value_t = 15.0, help_heading = "Linear probe")
    )]
    pub rate: f64,
}

impl Default for ProbeConfig {
    /// The paper's protocol: a rate of 60 at batch 1024, scaled to the batch.
    fn default() -> Self {
        Self { epochs: 100, batch: 256, rate: 15.0 }
    }
}

impl ProbeConfig {
    /// Checks the options.
    ///
    /// # Errors
    /// The first option that cannot be.
    pub fn check(&self) -> Result<(), ConfigError> {
        in_range("probe-epochs", self.epochs as f64, self.epochs >= 1, "at least 1")?;
        in_range("probe-batch", self.batch as f64, self.batch >= 1, "at least 1")?;
        in_range("probe-rate", self.rate, self.rate > 0.0 && self.rate.is_finite(), "above 0")
    }
}

/// One width's probe accuracy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeAccuracy {
    /// The most probable class is right.
    pub top1: Accuracy,
    /// The right class is among the five most probable.
    pub top5: Accuracy,
}

/// One width's classifier: softmax of `x weight + bias`.
struct Classifier {
    weight: Tensor<2>,
    bias: Tensor<2>,
    velocity: [Tensor<2>; 2],
}

impl Classifier {
    fn new(features: &Features, classes: usize) -> Self {
        let options = (&features.values.device(), features.values.dtype());
        let zeros = |rows| Tensor::zeros([rows, classes], options);
        let inputs = features.values.dims()[1];
        Self { weight: zeros(inputs), bias: zeros(1), velocity: [zeros(inputs), zeros(1)] }
    }

    fn probabilities(&self, x: Tensor<2>) -> Tensor<2> {
        softmax(x.matmul(self.weight.clone()) + self.bias.clone(), 1)
    }

    /// One SGD step of the cross-entropy to `target`. For a softmax its gradient is `x^T (p - target) / n`,
    /// so no graph is needed.
    fn step(&mut self, x: Tensor<2>, probabilities: Tensor<2>, target: Tensor<2>, rate: f64) {
        let error = (probabilities - target).div_scalar(x.dims()[0] as f64);
        let gradients = [x.transpose().matmul(error.clone()), error.sum_dim(0)];
        for ((velocity, gradient), value) in
            self.velocity.iter_mut().zip(gradients).zip([&mut self.weight, &mut self.bias])
        {
            velocity.inplace(|velocity| velocity.mul_scalar(MOMENTUM) + gradient);
            value.inplace(|value| value - velocity.clone().mul_scalar(rate));
        }
    }
}

/// Trains a classifier for every width at once on `train` and scores it on `test`, both widest first.
///
/// The full network learns from the labels; a sub-network half from the labels and half from the full
/// network's classifier.
///
/// # Errors
/// If the device fails.
pub async fn probe(
    train: &[Features],
    test: &[Features],
    config: &ProbeConfig,
    seed: u64,
) -> Result<Vec<ProbeAccuracy>, ExecutionError> {
    let Some(first) = train.first() else { return Ok(Vec::new()) };
    let (device, dtype) = (first.values.device(), first.values.dtype());
    let images = first.labels.len();
    let classes = first.labels.iter().max().map_or(0, |highest| *highest as usize + 1);
    let batch = config.batch.min(images);
    let steps_per_epoch = images / batch;
    let schedule = Schedule {
        decay: Decay::Step,
        initial: config.rate,
        total_steps: config.epochs * steps_per_epoch as u64,
        warmup_steps: 0,
        milestones: [0.6, 0.8].map(|share| share * config.epochs as f64).to_vec(),
    };
    let one_hot: Vec<f32> = first
        .labels
        .iter()
        .flat_map(|label| (0..classes as u32).map(move |class| f32::from(class == *label)))
        .collect();
    let one_hot = Tensor::<2>::from_data(TensorData::new(one_hot, [images, classes]), (&device, dtype));

    let mut classifiers: Vec<Classifier> = train.iter().map(|features| Classifier::new(features, classes)).collect();
    for epoch in 0..config.epochs {
        let order = epoch_order(seed, epoch, images);
        let rate = schedule.rate(epoch * steps_per_epoch as u64, epoch as f64);
        for chunk in order.chunks_exact(batch) {
            let chunk: Vec<i32> = chunk.iter().map(|image| *image as i32).collect();
            let chunk = Tensor::<1, Int>::from_data(TensorData::new(chunk, [batch]), &device);
            let labels = one_hot.clone().select(0, chunk.clone());
            let mut teacher: Option<Tensor<2>> = None;
            for (classifier, features) in classifiers.iter_mut().zip(train) {
                let x = features.values.clone().select(0, chunk.clone());
                let probabilities = classifier.probabilities(x.clone());
                let target = match &teacher {
                    None => labels.clone(),
                    Some(teacher) => (labels.clone() + teacher.clone()).div_scalar(2.0),
                };
                teacher.get_or_insert_with(|| probabilities.clone());
                classifier.step(x, probabilities, target, rate);
            }
        }
    }

    let mut accuracies = Vec::with_capacity(test.len());
    for (classifier, features) in classifiers.iter().zip(test) {
        let scores = classifier.probabilities(features.values.clone()).into_data_async().await?.convert::<f32>();
        let scores = scores.as_slice::<f32>().expect("the data was just converted to f32");
        let ranks: Vec<usize> =
            scores.chunks_exact(classes).zip(&features.labels).map(|(row, label)| rank(row, *label as usize)).collect();
        let within = |top: usize| Accuracy::new(ranks.iter().filter(|rank| **rank < top).count(), ranks.len());
        accuracies.push(ProbeAccuracy { top1: within(1), top5: within(5) });
    }
    Ok(accuracies)
}

/// How many classes score as high as `label` or higher, ties going to the lower class; scores that are no numbers
/// win over none, and a class that the training images lack comes last.
fn rank(scores: &[f32], label: usize) -> usize {
    match scores.get(label) {
        Some(own) => {
            let loses = |class: usize, score: f32| score < *own || (score == *own && class > label);
            scores.iter().enumerate().filter(|(class, score)| *class != label && !loses(*class, **score)).count()
        }
        None => scores.len(),
    }
}
