//! The linear probe: how well a linear classifier, trained by SGD, separates frozen features (docs/method.md,
//! "Switchable linear probe").
//!
//! Two kinds are trained on the same batches. The *switchable* probe has a layer for each width. The *slimmable* one
//! has one layer, of which each width uses its slice; the paper's appendix A explains why that is not enough for
//! sub-networks, and the difference between the two measures it.

use std::ops::Range;

use burn::tensor::{ExecutionError, Tensor, activation::softmax};
pub use slimclr_run::probe::ProbeConfig;

use super::{ProbeAccuracy, features::Features};
use crate::{
    augment::epoch_order,
    schedule::LrSchedule,
    width::{Channels, Widths},
};

/// Momentum of the probe's SGD.
const MOMENTUM: f64 = 0.9;

/// The lowest probability that counts. Far lower ones are subnormal numbers, which processors multiply many times
/// slower than others.
const LEAST_PROBABILITY: f64 = 1e-30;

/// The accuracies of the two kinds of probe, widest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// One layer for each width; `None` where it has diverged.
    pub switchable: Vec<Option<ProbeAccuracy>>,
    /// One layer for all widths; `None` where it has diverged.
    pub slimmable: Vec<Option<ProbeAccuracy>>,
}

/// A linear layer and its momentum.
struct Layer {
    /// Weight `[inputs, classes]` and bias `[1, classes]`.
    values: [Tensor<2>; 2],
    velocity: [Tensor<2>; 2],
}

impl Layer {
    /// Creates a layer of zeros for `features`.
    fn new(features: &Features, classes: usize) -> Self {
        let device = features.values.device();
        let zeros = || [features.values.dims()[1], 1].map(|rows| Tensor::zeros([rows, classes], &device));
        Self { values: zeros(), velocity: zeros() }
    }
}

/// Every width's classifier: softmax of `x weight + bias`.
struct Classifiers {
    layers: Vec<Layer>,
    /// For each width, its layer and the rows of that layer's weight that it uses.
    of_width: Vec<(usize, Range<usize>)>,
}

impl Classifiers {
    fn switchable(train: &[Features], classes: usize) -> Self {
        Self {
            layers: train.iter().map(|features| Layer::new(features, classes)).collect(),
            of_width: train.iter().map(|features| 0..features.values.dims()[1]).enumerate().collect(),
        }
    }

    fn slimmable(train: &[Features], classes: usize, widths: &Widths) -> Self {
        let inputs = Channels::Slim(train[0].values.dims()[1]);
        Self {
            layers: vec![Layer::new(&train[0], classes)],
            of_width: (0..widths.len()).map(|width| (0, inputs.range(widths, width))).collect(),
        }
    }

    /// Computes the scores. Shapes: `[n, inputs]` of the width to `[n, classes]`.
    fn scores(&self, width: usize, x: Tensor<2>) -> Tensor<2> {
        let (layer, rows) = &self.of_width[width];
        let [weight, bias] = self.layers[*layer].values.clone();
        x.matmul(weight.slice([rows.clone()])) + bias
    }

    /// Takes one SGD step on the sum of the widths' losses, each on its features of the batch, `[n, inputs]`. The full
    /// network learns from the labels, `[n, classes]`; a sub-network half from them and half from the full network's
    /// classifier.
    ///
    /// The gradient of a softmax' cross-entropy to `target` is `x^T (p - target) / n`, so no graph is needed.
    fn step(&mut self, batch: &[Tensor<2>], labels: &Tensor<2>, rate: f64) {
        for velocity in self.layers.iter_mut().flat_map(|layer| &mut layer.velocity) {
            velocity.inplace(|velocity| velocity.mul_scalar(MOMENTUM));
        }
        let mut teacher: Option<Tensor<2>> = None;
        for (width, x) in batch.iter().enumerate() {
            let probabilities = softmax(self.scores(width, x.clone()), 1).clamp_min(LEAST_PROBABILITY);
            let target = match &teacher {
                None => labels.clone(),
                Some(teacher) => (labels.clone() + teacher.clone()).div_scalar(2.0),
            };
            teacher.get_or_insert_with(|| probabilities.clone());
            let error = (probabilities - target).div_scalar(x.dims()[0] as f64);
            let (layer, rows) = &self.of_width[width];
            let [weight, bias] = &mut self.layers[*layer].velocity;
            let gradient = x.clone().transpose().matmul(error.clone());
            weight.inplace(|weight| {
                let sum = weight.clone().slice([rows.clone()]) + gradient;
                weight.slice_assign([rows.clone()], sum)
            });
            bias.inplace(|bias| bias + error.sum_dim(0));
        }
        for Layer { values, velocity } in &mut self.layers {
            for (value, velocity) in values.iter_mut().zip(velocity) {
                value.inplace(|value| value - velocity.clone().mul_scalar(rate));
            }
        }
    }

    async fn accuracies(&self, test: &[Features]) -> Result<Vec<Option<ProbeAccuracy>>, ExecutionError> {
        let mut accuracies = Vec::with_capacity(test.len());
        for (width, features) in test.iter().enumerate() {
            accuracies.push(ProbeAccuracy::of(features, |x| self.scores(width, x)).await?);
        }
        Ok(accuracies)
    }
}

/// Trains both kinds of probe for all `widths` at once on `train` and scores them on `test`; each holds the features of
/// every width, widest first.
///
/// # Errors
/// If the device fails.
pub async fn probe(
    train: &[Features],
    test: &[Features],
    widths: &Widths,
    config: &ProbeConfig,
    seed: u64,
) -> Result<Probed, ExecutionError> {
    let (images, classes) = (train[0].labels.len(), train[0].classes());
    let config = config.clone().at_batch(config.batch.min(images));
    // The rate changes per epoch, not per step, as in the authors' code.
    let schedule = LrSchedule {
        decay: config.decay,
        peak: config.rate,
        warmup_start: 0.0,
        final_rate: 0.0,
        total_steps: config.epochs,
        warmup_steps: 0,
        steps_per_epoch: 1,
        milestones: [0.6, 0.8].map(|share| share * config.epochs as f64).to_vec(),
        milestone_factor: 0.1,
    };
    let mut switchable = Classifiers::switchable(train, classes);
    let mut slimmable = Classifiers::slimmable(train, classes, widths);
    for epoch in 0..config.epochs {
        let rate = schedule.rate(epoch);
        for chunk in epoch_order(seed, epoch, images).chunks_exact(config.batch) {
            let labels = train[0].one_hot(chunk.iter().map(|image| *image as usize), classes);
            let batch: Vec<Tensor<2>> = train.iter().map(|features| features.values.select(chunk)).collect();
            for probe in [&mut switchable, &mut slimmable] {
                probe.step(&batch, &labels, rate);
            }
        }
        // Waits for the device, which may be far behind the rows that are read.
        let [_, bias] = &switchable.layers[0].values;
        bias.clone().into_data_async().await?;
    }
    Ok(Probed { switchable: switchable.accuracies(test).await?, slimmable: slimmable.accuracies(test).await? })
}

#[cfg(test)]
mod tests {
    use slimclr_run::schedule::Decay;

    use std::rc::Rc;

    use burn::tensor::{Device, TensorData};
    use futures::executor::block_on;

    use super::*;
    use crate::eval::Accuracy;

    const CLASSES: usize = 3;

    /// Creates features at their class's corner of a triangle, times `scale`, plus noise.
    fn corners(images: usize, scale: f32) -> Features {
        let point = |n: usize| {
            let (angle, noise) = ((n % CLASSES) as f32 * 2.1, n as f32 * 0.7);
            [angle.cos() + 0.2 * noise.sin(), angle.sin() + 0.2 * noise.cos()].map(|x| scale * x)
        };
        let values: Vec<f32> = (0..images).flat_map(point).collect();
        Features {
            values: Rc::new(Tensor::<2>::from_data(TensorData::new(values, [images, 2]), &Device::flex())),
            labels: (0..images).map(|n| (n % CLASSES) as u32).collect(),
            indices: (0..images).collect(),
        }
    }

    fn config() -> ProbeConfig {
        ProbeConfig { epochs: 20, batch: 30, rate: 1.0, decay: Decay::Cosine }
    }

    fn top1(accuracies: &[Option<ProbeAccuracy>]) -> Vec<f64> {
        accuracies.iter().map(|accuracy| accuracy.unwrap().top1.fraction).collect()
    }

    #[test]
    fn recipes_match_the_papers() {
        let recipes = [ProbeConfig::moco_v2(), ProbeConfig::moco_v3()];
        assert_eq!(recipes.clone().map(|recipe| recipe.at_batch(1024).rate), [60.0, 0.4]);
        assert_eq!(recipes.map(|recipe| (recipe.epochs, recipe.decay)), [(100, Decay::Step), (90, Decay::Cosine)]);
    }

    #[test]
    fn both_probes_of_one_width_separate_separable_features() {
        let (train, test) = ([corners(300, 1.0)], [corners(50, 1.0)]);
        for decay in [Decay::Cosine, Decay::Step] {
            let config = ProbeConfig { decay, ..config() };
            let probed = block_on(probe(&train, &test, &Widths::full(), &config, 0)).unwrap();
            let right = Some(ProbeAccuracy { top1: Accuracy::new(50, 50), top5: Accuracy::new(50, 50) });
            assert_eq!(probed, Probed { switchable: vec![right], slimmable: vec![right] });
        }
    }

    #[test]
    fn a_diverged_probe_has_no_accuracy() {
        let config = ProbeConfig { rate: 1e38, ..config() };
        let features = [corners(300, 1e3)];
        let probed = block_on(probe(&features, &features, &Widths::full(), &config, 0)).unwrap();
        assert_eq!(probed, Probed { switchable: vec![None], slimmable: vec![None] });
    }

    #[test]
    fn batches_are_at_most_the_set() {
        let features = [corners(300, 1.0)];
        let of_batch = |batch| {
            let config = ProbeConfig { rate: batch as f64 / 300.0, batch, ..config() };
            block_on(probe(&features, &features, &Widths::full(), &config, 0)).unwrap()
        };
        assert_eq!(of_batch(3000), of_batch(300));
    }

    /// Where the narrow features contradict the wide ones, a shared weight is right for one of them at most.
    #[test]
    fn a_shared_weight_costs_accuracy() {
        let widths = Widths::try_from(vec![1.0, 0.5]).unwrap();
        let of = |images| {
            let features = corners(images, 1.0);
            let values = features.values.rows(0..images);
            // Two of the wide network's four features say nothing, so they cannot make up for the leading two.
            let wide = Tensor::cat(vec![values.clone(), values.zeros_like()], 1);
            [wide, -values].map(|values| Features { values: Rc::new(values), ..features.clone() })
        };
        let probed = block_on(probe(&of(300), &of(60), &widths, &config(), 0)).unwrap();
        assert_eq!(top1(&probed.switchable), [1.0, 1.0]);
        assert_ne!(top1(&probed.slimmable), [1.0, 1.0]);
    }

    /// Sub-networks leave the full network's layer alone in a switchable probe, and share it in a slimmable one.
    #[test]
    fn gradients_of_the_widths_add_up_in_a_shared_weight() {
        let widths = Widths::try_from(vec![1.0, 0.5]).unwrap();
        let wide = corners(30, 1.0);
        let narrow = Features { values: Rc::new(wide.values.rows(0..30).slice([0..30, 0..1])), ..wide.clone() };
        let train = [wide, narrow];
        let labels = train[0].one_hot(0..30, CLASSES);
        let mut probes = [Classifiers::switchable(&train, CLASSES), Classifiers::slimmable(&train, CLASSES, &widths)];
        for probe in &mut probes {
            probe.step(&train.each_ref().map(|features| features.values.rows(0..30)), &labels, 1.0);
        }
        let weights = |probe: &Classifiers, layer: usize| -> Vec<f64> {
            probe.layers[layer].values[0].to_data().iter().collect()
        };
        let [switchable, slimmable] = &probes;
        let (wide, narrow, shared) = (weights(switchable, 0), weights(switchable, 1), weights(slimmable, 0));
        for class in 0..CLASSES {
            // At zero weights both kinds have the same gradients.
            assert!((shared[class] - (wide[class] + narrow[class])).abs() < 1e-6);
            assert_eq!(shared[CLASSES + class], wide[CLASSES + class]);
        }
    }
}
