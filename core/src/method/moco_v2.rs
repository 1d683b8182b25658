//! SlimCLR-MoCov2 (paper section 3; spec section 2).

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

use crate::{
    augment::epoch_order,
    config::Config,
    encoder::Encoder,
    gradient::GradientSum,
    loss::{
        distill::{Distillation, Output, Temperatures},
        info_nce::{info_nce, logits},
        normalize,
    },
    optim::sgd::Sgd,
    parameter::Parameters,
    pass::{Mode, Pass},
    width::Widths,
};

/// What a step needs beyond its images.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// Momentum of the key encoder.
    pub key_momentum: f64,
    /// Temperature of InfoNCE.
    pub temperature: f64,
    /// Groups of the batch with batch-norm statistics of their own.
    pub bn_splits: usize,
    /// How the full network teaches the others.
    pub distill: Distillation,
    /// Share of the distillation in a sub-network's loss.
    pub distill_weight: f64,
    /// Temperatures of the distillation.
    pub temperatures: Temperatures,
    /// Whether every wider network teaches, not only the full one.
    pub full_distill: bool,
    /// Weight of each width's loss once the sub-networks are trained.
    pub loss_weights: Vec<f64>,
    /// Seed of the queue's first keys and of the shuffles.
    pub seed: u64,
}

impl Recipe {
    /// The recipe that `config` describes, for an encoder of these widths.
    pub fn new(config: &Config, widths: &Widths) -> Self {
        Self {
            key_momentum: config.key_momentum,
            temperature: config.temperature,
            bn_splits: config.bn_splits,
            distill: config.distill,
            distill_weight: config.distill_weight,
            temperatures: Temperatures { teacher: config.teacher_temperature, student: config.student_temperature },
            full_distill: config.full_distill,
            loss_weights: config.reweighting.weights(widths),
            seed: config.seed,
        }
    }

    /// The weighted loss of one width, `[1]`, given what the wider networks made of the batch, widest
    /// first. `loss_weight` multiplies all of it.
    pub fn loss(&self, student: &Output, wider: &[Output], loss_weight: f64) -> Tensor<1> {
        let contrast = info_nce(student.logits.clone(), self.temperature);
        let teachers = if self.full_distill { wider } else { &wider[..wider.len().min(1)] };
        let lessons: Vec<Tensor<1>> =
            teachers.iter().filter_map(|teacher| self.distill.loss(student, teacher, self.temperatures)).collect();
        let loss = if lessons.is_empty() {
            contrast
        } else {
            let distillation = Tensor::cat(lessons, 0).mean();
            contrast.mul_scalar(1.0 - self.distill_weight) + distillation.mul_scalar(self.distill_weight)
        };
        loss.mul_scalar(loss_weight)
    }
}

/// The keys of earlier batches, oldest replaced first.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Unit vectors, one a column: `[d, k]`.
    pub keys: Tensor<2>,
    /// The column that the next batch of keys begins at.
    pub pointer: usize,
}

impl Queue {
    /// `length` random unit vectors of `dim` dimensions.
    pub fn random(dim: usize, length: usize, seed: u64, device: &Device) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let keys: Vec<f32> = (0..dim * length).map(|_| random.sample::<f32, _>(StandardNormal)).collect();
        let keys = Tensor::<2>::from_data(TensorData::new(keys, [length, dim]), device);
        Self { keys: normalize(keys).transpose(), pointer: 0 }
    }

    /// Writes `keys`, `[n, d]`, over the `n` oldest; `n` must divide the queue's length.
    pub fn replace_oldest(&mut self, keys: Tensor<2>) {
        let [dim, length] = self.keys.dims();
        let (start, end) = (self.pointer, self.pointer + keys.dims()[0]);
        self.keys.inplace(|queue| queue.slice_assign([0..dim, start..end], keys.transpose()));
        self.pointer = end % length;
    }
}

/// Everything that training moves: the query encoder that is wanted, and what trains it.
#[derive(Debug, Clone)]
pub struct MocoV2 {
    /// The architecture of both encoders.
    pub encoder: Encoder,
    /// Options.
    pub recipe: Recipe,
    /// The encoder that gradients train.
    pub query: Parameters,
    /// The momentum encoder, which makes the keys.
    pub key: Parameters,
    /// Earlier keys: the negatives.
    pub queue: Queue,
    /// Moves the query encoder.
    pub optimizer: Sgd,
    /// Steps taken.
    pub steps: u64,
}

/// What one step leaves to look at.
pub struct StepOutcome {
    /// The weighted loss of each width that was trained, widest first: `[1]` each.
    pub losses: Vec<Tensor<1>>,
    /// The gradient that the optimiser used.
    pub gradients: GradientSum,
}

impl MocoV2 {
    /// A fresh start: key and query encoder alike, a queue of random keys.
    pub fn new(config: &Config, encoder: Encoder, device: &Device) -> Self {
        let layout = encoder.layout().clone();
        let query = Parameters::init(layout.clone(), config.seed, device);
        Self {
            recipe: Recipe::new(config, layout.widths()),
            key: query.clone(),
            query,
            // A seed of its own: the queue must not repeat the weights' random numbers.
            queue: Queue::random(config.dim, config.queue, config.seed ^ 0x71756575, device),
            optimizer: Sgd::new(&layout, config.momentum, config.weight_decay),
            encoder,
            steps: 0,
        }
    }

    /// One training step on two views of the same images, `[n, 3, height, width]` each.
    ///
    /// `slim` trains all widths; otherwise only the full network (slow start). The sub-networks'
    /// graphs share nothing but weights, so the step goes width by width, dropping each width's
    /// activations before the next; the gradient is that of the summed loss.
    pub fn step(&mut self, [query_views, key_views]: [Tensor<4>; 2], slim: bool, rate: f64) -> StepOutcome {
        let layout = self.encoder.layout().clone();
        self.key.move_towards(&self.query, self.recipe.key_momentum);
        let keys = self.keys(key_views);

        let trained = if slim { layout.widths().len() } else { 1 };
        let mut gradients = GradientSum::new(&layout);
        let (mut losses, mut wider) = (Vec::new(), Vec::new());
        for width in 0..trained {
            let mut pass = Pass::tracked(&mut self.query, width, Mode::Train { splits: self.recipe.bn_splits });
            let embeddings = normalize(self.encoder.forward(query_views.clone(), &mut pass));
            let logits = logits(embeddings.clone(), keys.clone(), self.queue.keys.clone());
            let output = Output { embeddings, logits };
            let loss_weight = if slim { self.recipe.loss_weights[width] } else { 1.0 };
            let loss = self.recipe.loss(&output, &wider, loss_weight);
            for (id, gradient) in pass.into_leaves().gradients(loss.backward()) {
                gradients.add(&layout, id, width, gradient);
            }
            losses.push(loss.without_autodiff());
            wider.push(output.detached());
        }

        self.optimizer.step(&mut self.query, &gradients, rate);
        self.queue.replace_oldest(keys);
        self.steps += 1;
        StepOutcome { losses, gradients }
    }

    /// The momentum encoder's embeddings, `[n, d]`, with batch statistics and without a graph.
    ///
    /// Where the batch is split for its statistics, it is shuffled first, so that a query and its
    /// key are normalised among different images and the statistics leak nothing.
    fn keys(&mut self, views: Tensor<4>) -> Tensor<2> {
        let splits = self.recipe.bn_splits;
        let mut pass = Pass::new(&mut self.key, 0, Mode::Train { splits });
        if splits == 1 {
            return normalize(self.encoder.forward(views, &mut pass));
        }
        let shuffle = epoch_order(self.recipe.seed, self.steps, views.dims()[0]);
        let mut back = vec![0; shuffle.len()];
        for (place, image) in shuffle.iter().enumerate() {
            back[*image as usize] = place as u32;
        }
        let [shuffle, back] = [shuffle, back].map(|order| {
            let order: Vec<i32> = order.into_iter().map(|image| image as i32).collect();
            let count = order.len();
            Tensor::<1, Int>::from_data(TensorData::new(order, [count]), &views.device())
        });
        normalize(self.encoder.forward(views.select(0, shuffle), &mut pass)).select(0, back)
    }
}
