//! Linear classifiers of every width, and their SGD.

use std::ops::Range;

use burn::tensor::{ExecutionError, Tensor, TensorData, activation::softmax};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;
use slimclr_run::probe::{InitialWeights, ProbeConfig, ProbeNormalisation};

use super::{parameter::Parameter, score_norm::ScoreNorm};
use crate::{
    eval::{ProbeAccuracy, features::Features},
    width::{Channels, Widths},
};

/// The lowest probability that counts. Far lower ones are subnormal numbers, which processors multiply many times
/// slower than others.
const LEAST_PROBABILITY: f64 = 1e-30;

/// A linear layer.
pub struct Layer {
    /// `[inputs, classes]`.
    pub weight: Parameter,
    /// `[1, classes]`.
    bias: Parameter,
}

impl Layer {
    fn new(features: &Features, classes: usize, weights: InitialWeights, random: &mut Pcg64Mcg) -> Self {
        let (inputs, device) = (features.values.dims()[1], features.values.device());
        let bound = 1.0 / (inputs as f32).sqrt();
        let mut draw = |rows: usize| {
            let value = |_| match weights {
                InitialWeights::Zero => 0.0,
                InitialWeights::Normal if rows == 1 => 0.0,
                InitialWeights::Normal => 0.01 * random.sample::<f32, _>(StandardNormal),
                InitialWeights::Uniform => random.random_range(-bound..bound),
            };
            let values: Vec<f32> = (0..rows * classes).map(value).collect();
            Parameter::new(Tensor::from_data(TensorData::new(values, [rows, classes]), &device))
        };
        Self { weight: draw(inputs), bias: draw(1) }
    }
}

/// Every width's classifier: softmax of `x weight + bias`, with or without a norm of these scores.
pub struct Classifiers {
    pub layers: Vec<Layer>,
    /// For each width, its layer and the rows of that layer's weight that it uses.
    of_width: Vec<(usize, Range<usize>)>,
    /// Each width's norm, if scores are normalised.
    norms: Vec<ScoreNorm>,
    weight_decay: f64,
}

impl Classifiers {
    /// Creates a classifier with a layer for each width.
    pub fn switchable(train: &[Features], classes: usize, config: &ProbeConfig, seed: u64) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let layers = train.iter().map(|features| Layer::new(features, classes, config.weights, &mut random)).collect();
        let of_width = train.iter().map(|features| 0..features.values.dims()[1]).enumerate().collect();
        Self::new(layers, of_width, classes, config)
    }

    /// Creates a classifier with one layer for all widths.
    pub fn slimmable(train: &[Features], classes: usize, widths: &Widths, config: &ProbeConfig, seed: u64) -> Self {
        let inputs = Channels::Slim(train[0].values.dims()[1]);
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let layers = vec![Layer::new(&train[0], classes, config.weights, &mut random)];
        let of_width = (0..widths.len()).map(|width| (0, inputs.range(widths, width))).collect();
        Self::new(layers, of_width, classes, config)
    }

    fn new(layers: Vec<Layer>, of_width: Vec<(usize, Range<usize>)>, classes: usize, config: &ProbeConfig) -> Self {
        let device = layers[0].weight.value.device();
        let norms = match config.normalisation {
            ProbeNormalisation::Scores => of_width.iter().map(|_| ScoreNorm::new(classes, &device)).collect(),
            ProbeNormalisation::None | ProbeNormalisation::Features => Vec::new(),
        };
        Self { layers, of_width, norms, weight_decay: config.weight_decay }
    }

    /// Waits until the device has taken all steps.
    pub async fn wait(&self) -> Result<(), ExecutionError> {
        self.layers[0].bias.value.clone().into_data_async().await.map(drop)
    }

    /// Returns what SGD trains.
    fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let of_layers = self.layers.iter_mut().flat_map(|layer| [&mut layer.weight, &mut layer.bias]);
        of_layers.chain(self.norms.iter_mut().flat_map(ScoreNorm::parameters))
    }

    /// Computes the linear layer's scores. Shapes: `[n, inputs]` of the width to `[n, classes]`.
    fn linear(&self, width: usize, x: Tensor<2>) -> Tensor<2> {
        let (layer, rows) = &self.of_width[width];
        let Layer { weight, bias } = &self.layers[*layer];
        x.matmul(weight.value.clone().slice([rows.clone()])) + bias.value.clone()
    }

    /// Computes the scores of test images. Shapes: `[n, inputs]` of the width to `[n, classes]`.
    fn scores(&self, width: usize, x: Tensor<2>) -> Tensor<2> {
        let scores = self.linear(width, x);
        match self.norms.get(width) {
            Some(norm) => norm.evaluate(scores),
            None => scores,
        }
    }

    /// Takes one SGD step on the sum of the widths' losses, each on its features of the batch, `[n, inputs]`. The full
    /// network learns from the labels, `[n, classes]`; a sub-network half from them and half from the full network's
    /// classifier.
    ///
    /// The gradient of a softmax' cross-entropy to `target` is `x^T (p - target) / n`, so no graph is needed.
    pub fn step(&mut self, batch: &[Tensor<2>], labels: &Tensor<2>, rate: f64) {
        let weight_decay = self.weight_decay;
        self.parameters().for_each(|parameter| parameter.begin(weight_decay));
        let mut teacher: Option<Tensor<2>> = None;
        for (width, x) in batch.iter().enumerate() {
            let scores = self.linear(width, x.clone());
            let (scores, normalised) = match self.norms.get_mut(width) {
                Some(norm) => {
                    let (scores, normalised) = norm.train(scores);
                    (scores, Some((norm, normalised)))
                }
                None => (scores, None),
            };
            let probabilities = softmax(scores, 1).clamp_min(LEAST_PROBABILITY);
            let target = match &teacher {
                None => labels.clone(),
                Some(teacher) => (labels.clone() + teacher.clone()).div_scalar(2.0),
            };
            teacher.get_or_insert_with(|| probabilities.clone());
            let error = (probabilities - target).div_scalar(x.dims()[0] as f64);
            let error = match normalised {
                Some((norm, normalised)) => norm.backward(error, normalised),
                None => error,
            };
            let (layer, rows) = &self.of_width[width];
            let Layer { weight, bias } = &mut self.layers[*layer];
            let gradient = x.clone().transpose().matmul(error.clone());
            weight.accelerate(|velocity| {
                let sum = velocity.clone().slice([rows.clone()]) + gradient;
                velocity.slice_assign([rows.clone()], sum)
            });
            bias.accelerate(|velocity| velocity + error.sum_dim(0));
        }
        self.parameters().for_each(|parameter| parameter.descend(rate));
    }

    /// Computes the accuracy of each width on its features of the test images; `None` where it has diverged.
    pub async fn accuracies(&self, test: &[Features]) -> Result<Vec<Option<ProbeAccuracy>>, ExecutionError> {
        let mut accuracies = Vec::with_capacity(test.len());
        for (width, features) in test.iter().enumerate() {
            accuracies.push(ProbeAccuracy::of(features, |x| self.scores(width, x)).await?);
        }
        Ok(accuracies)
    }
}
