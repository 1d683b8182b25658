//! The linear probe: how well a linear classifier, trained by SGD, separates frozen features (docs/method.md,
//! "Switchable linear probe").
//!
//! Two kinds are trained on the same batches. The *switchable* probe has a layer for each width. The *slimmable* one
//! has one layer, of which each width uses its slice; the paper's appendix A explains why that is not enough for
//! sub-networks, and the difference between the two measures it.

mod classifiers;
mod parameter;
mod score_norm;
mod standardised;

use burn::tensor::{ExecutionError, Tensor};
pub use slimclr_run::probe::{ProbeConfig, ProbeNormalisation, ProbeRecipe};

use self::{classifiers::Classifiers, standardised::standardised};
use super::{ProbeAccuracy, features::Features};
use crate::{augment::epoch_order, width::Widths};

/// The accuracies of the two kinds of probe, widest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// One layer for each width; `None` where it has diverged.
    pub switchable: Vec<Option<ProbeAccuracy>>,
    /// One layer for all widths; `None` where it has diverged.
    pub slimmable: Vec<Option<ProbeAccuracy>>,
}

/// Returns how often [`probe`] reads the training features.
pub fn passes(config: &ProbeConfig) -> usize {
    let before = match config.normalisation {
        ProbeNormalisation::Features => standardised::PASSES,
        ProbeNormalisation::None | ProbeNormalisation::Scores => 0,
    };
    before + config.epochs as usize
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
    let [mut of_train, mut of_test] = [Vec::new(), Vec::new()];
    let [train, test] = match config.normalisation {
        ProbeNormalisation::Features => {
            for (train, test) in train.iter().zip(test) {
                let [train, test] = standardised(train, test).await?;
                of_train.push(train);
                of_test.push(test);
            }
            [&of_train[..], &of_test]
        }
        ProbeNormalisation::None | ProbeNormalisation::Scores => [train, test],
    };
    let (images, classes) = (train[0].labels.len(), train[0].classes());
    let config = config.clone().at_batch(config.batch.min(images));
    let mut switchable = Classifiers::switchable(train, classes, &config, seed);
    let mut slimmable = Classifiers::slimmable(train, classes, widths, &config, seed);
    let steps = (images / config.batch) as u64;
    for epoch in 0..config.epochs {
        for (step, chunk) in (0..).zip(epoch_order(seed, epoch, images).chunks_exact(config.batch)) {
            let rate = config.rate_at(epoch, step, steps);
            let labels = train[0].one_hot(chunk.iter().map(|image| *image as usize), classes);
            let batch: Vec<Tensor<2>> = train.iter().map(|features| features.values.select(chunk)).collect();
            for probe in [&mut switchable, &mut slimmable] {
                probe.step(&batch, &labels, rate);
            }
        }
        // The device may be far behind the rows that are read.
        switchable.wait().await?;
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
    use crate::{encoder::BackboneKind, eval::Accuracy};

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
        ProbeConfig { epochs: 20, batch: 30, rate: 1.0, decay: Decay::Cosine, ..ProbeConfig::default() }
    }

    fn top1(accuracies: &[Option<ProbeAccuracy>]) -> Vec<f64> {
        accuracies.iter().map(|accuracy| accuracy.unwrap().top1.fraction).collect()
    }

    #[test]
    fn both_probes_of_one_width_separate_separable_features() {
        let (train, test) = ([corners(300, 1.0)], [corners(50, 1.0)]);
        let of = |decay, normalisation| ProbeConfig { decay, normalisation, ..config() };
        let recipes = [ProbeRecipe::Compress, ProbeRecipe::Swav].map(|recipe| recipe.config(BackboneKind::Resnet));
        let [compress, swav] = recipes.map(|recipe| ProbeConfig { batch: 30, ..recipe });
        for config in [
            of(Decay::Cosine, ProbeNormalisation::None),
            of(Decay::Step, ProbeNormalisation::None),
            of(Decay::Cosine, ProbeNormalisation::Scores),
            compress,
            swav,
        ] {
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
        let mut probes = [
            Classifiers::switchable(&train, CLASSES, &config(), 0),
            Classifiers::slimmable(&train, CLASSES, &widths, &config(), 0),
        ];
        for probe in &mut probes {
            probe.step(&train.each_ref().map(|features| features.values.rows(0..30)), &labels, 1.0);
        }
        let weights = |probe: &Classifiers, layer: usize| -> Vec<f64> {
            probe.layers[layer].weight.value.to_data().iter().collect()
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
