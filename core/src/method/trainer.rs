//! The training step of every method (paper section 3; spec sections 2 to 4).

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use rand_pcg::Pcg64Mcg;

use super::{
    Method, Queue, Recipe,
    task::{Question, Task},
};
use crate::{
    augment::{Normalisation, epoch_order},
    config::Config,
    encoder::Encoder,
    gradient::{GradientSum, WidthGradient},
    interference::surgery::Surgery,
    kernel::cpu::among_the_threads,
    loss::normalize,
    optim::{
        Optimizer,
        loss_scale::{LossScale, undo_where},
    },
    parameter::{MismatchError, Parameters},
    pass::{Mode, Pass, Stem},
    precision::Precision,
};

/// Everything that training moves: the encoder that is wanted, and what trains it.
#[derive(Debug, Clone)]
pub struct Trainer {
    /// The architecture.
    pub encoder: Encoder,
    /// Options.
    pub recipe: Recipe,
    /// The encoder that gradients train.
    pub query: Parameters,
    /// The momentum encoder, which makes the keys, where the method has one.
    pub key: Option<Parameters>,
    /// Earlier keys, where they are the negatives.
    pub queue: Option<Queue>,
    /// Moves the query encoder.
    pub optimizer: Optimizer,
    /// Keeps gradients in the range of 16-bit floats.
    pub loss_scale: Option<LossScale>,
    /// Steps taken.
    pub steps: u64,
}

/// What a step looks at.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Views of the same images, `[n, 3, height, width]` each: as many as [`Method::augmentation`] makes.
    pub views: Vec<Tensor<4>>,
    /// The images' classes, `[n]`; used where the method is supervised.
    pub labels: Tensor<1, Int>,
}

impl Batch {
    /// Normal noise in the shape of a batch, all of the first class: to time or try a step.
    pub fn noise(config: &Config, seed: u64, device: &Device) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let shape = [config.batch, 3, config.image_size, config.image_size];
        let mut view = |_| {
            let pixels: Vec<f32> = (0..shape.iter().product()).map(|_| random.sample(StandardNormal)).collect();
            Tensor::from_data(TensorData::new(pixels, shape), device)
        };
        let count = config.method.augmentation(Normalisation::CIFAR10, config.image_size).len();
        Self { views: (0..count).map(&mut view).collect(), labels: Tensor::zeros([config.batch], device) }
    }

    /// How many images it has.
    pub(crate) fn images(&self) -> usize {
        self.labels.dims()[0]
    }

    /// `count` equal parts, in order.
    pub(crate) fn parts(&self, count: usize) -> impl Iterator<Item = Batch> {
        let images = self.images() / count;
        (0..count).map(move |part| self.narrow(part * images, images))
    }

    /// So many of its images, from the one at `start`.
    pub(crate) fn narrow(&self, start: usize, images: usize) -> Batch {
        Batch {
            views: self.views.iter().map(|view| view.clone().narrow(0, start, images)).collect(),
            labels: self.labels.clone().narrow(0, start, images),
        }
    }
}

/// What is to be done in a step, as a run's timetable has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Whether all widths are trained, or only the full network (slow start).
    pub slim: bool,
    /// The learning rate.
    pub rate: f64,
    /// How much of itself the momentum encoder keeps.
    pub key_momentum: f64,
    /// Whether each width's own gradient is wanted when the step is done, and not only their sum.
    pub keeps_widths: bool,
}

/// What one step leaves to look at.
pub struct StepOutcome {
    /// The weighted loss of each width that was trained, widest first: `[1]` each.
    pub losses: Vec<Tensor<1>>,
    /// The gradient of each of these losses; in f16 still at the scale of the loss. None unless the plan or surgery
    /// keeps them.
    pub widths: Vec<WidthGradient>,
    /// Their sum, after surgery and before clipping.
    pub gradients: GradientSum,
}

impl Trainer {
    /// A fresh start: key and query encoder alike, a queue of random keys.
    pub fn new(config: &Config, encoder: Encoder, device: &Device) -> Self {
        let query = Parameters::init(encoder.layout().clone(), config.seed, device);
        Self::from_parameters(config, encoder, query)
    }

    /// A start from another network's weights: its backbone, and its head if it is the same.
    ///
    /// # Errors
    /// If the backbone is another.
    pub fn adopting(
        config: &Config,
        encoder: Encoder,
        weights: &Parameters,
        device: &Device,
    ) -> Result<Self, MismatchError> {
        let mut query = Parameters::init(encoder.layout().clone(), config.seed, device);
        query.adopt(weights)?;
        Ok(Self::from_parameters(config, encoder, query))
    }

    /// A start from given parameters.
    pub fn from_parameters(config: &Config, encoder: Encoder, query: Parameters) -> Self {
        let (layout, device) = (encoder.layout().clone(), query.device());
        Self {
            recipe: Recipe::new(config, layout.widths()),
            key: config.method.has_keys().then(|| query.clone()),
            query,
            // A seed of its own: the queue must not repeat the weights' random numbers.
            queue: (config.method == Method::Mocov2)
                .then(|| Queue::random(config.dim, config.queue, config.seed ^ 0x71756575, &device)),
            optimizer: Optimizer::new(config.optimizer, &layout, config.momentum, config.weight_decay),
            loss_scale: (config.precision == Precision::F16).then(|| LossScale::new(&device)),
            encoder,
            steps: 0,
        }
    }

    /// One training step.
    ///
    /// The sub-networks' graphs share nothing but weights, so the step goes width by width, dropping each width's
    /// activations before the next; the sum of their gradients is that of the summed loss.
    pub fn step(&mut self, batch: Batch, plan: Plan) -> StepOutcome {
        // A GPU's work goes in the order of one thread, the caller's.
        if self.query.device() == Device::flex() {
            return among_the_threads(|| self.step_here(batch, plan));
        }
        self.step_here(batch, plan)
    }

    fn step_here(&mut self, batch: Batch, plan: Plan) -> StepOutcome {
        let layout = self.encoder.layout().clone();
        if let Some(key) = &mut self.key {
            key.move_towards(&self.query, plan.key_momentum);
        }
        let trained = if plan.slim { layout.widths().len() } else { 1 };
        let parts = self.recipe.accumulate;
        let surgery = self.recipe.surgery;
        let kept = if plan.keeps_widths || surgery != Surgery::None { trained } else { 0 };
        let mut widths: Vec<_> = (0..kept).map(|width| WidthGradient::new(&layout, width)).collect();
        let mut gradients = GradientSum::new(&layout);
        let mut losses: Vec<Vec<Tensor<1>>> = vec![Vec::new(); trained];
        let mut fresh_keys = Vec::new();
        for (number, part) in batch.parts(parts).enumerate() {
            for task in self.tasks(part, number, &mut fresh_keys) {
                let (targets, mut wider, mut stem) = (task.targets(), Vec::new(), Stem::default());
                for (width, losses) in losses.iter_mut().enumerate() {
                    let mode = Mode::Train { splits: self.recipe.bn_splits };
                    let pass = Pass::tracked(&mut self.query, width, mode);
                    let pass = pass.in_precision(self.recipe.precision).recomputing(self.recipe.recompute);
                    let mut pass = pass.sharing(&mut stem);
                    let output = task.output(&self.encoder, &mut pass);
                    let loss_weight = if plan.slim { self.recipe.loss_weights[width] } else { 1.0 };
                    let loss = self.recipe.loss(&output, &targets, &wider, loss_weight / parts as f64);
                    losses.push(loss.clone().without_autodiff());
                    let scaled = match &self.loss_scale {
                        Some(scale) => loss * scale.scale(),
                        None => loss,
                    };
                    let own = WidthGradient::of(&layout, width, pass.gradients(scaled));
                    if surgery == Surgery::None {
                        gradients = gradients.plus(&layout, &own);
                    }
                    if let Some(sum) = widths.get_mut(width) {
                        sum.add_all(own);
                    }
                    wider.push(output.detached());
                }
            }
        }
        if surgery != Surgery::None {
            gradients = surgery.sum(&layout, &widths, self.recipe.seed ^ self.steps);
        }
        self.optimise(&mut gradients, plan.rate);
        if let Some(queue) = &mut self.queue {
            queue.replace_oldest(Tensor::cat(fresh_keys, 0));
        }
        self.steps += 1;
        let sum = |parts: Vec<Tensor<1>>| parts.into_iter().reduce(|sum, part| sum + part).expect("a batch has parts");
        let losses = losses.into_iter().map(sum).collect();
        StepOutcome { losses, widths, gradients }
    }

    /// Unscales and clips the gradients, and moves the query encoder; not where a gradient has overflowed.
    fn optimise(&mut self, gradients: &mut GradientSum, rate: f64) {
        let guard = self.loss_scale.as_mut().map(|scale| {
            let overflowed = scale.unscale(gradients);
            (overflowed, self.query.clone(), self.optimizer.clone())
        });
        match self.recipe.clip_norm {
            0.0 => self.optimizer.step(&mut self.query, gradients, rate),
            highest => self.optimizer.step(&mut self.query, &gradients.clipped(highest), rate),
        }
        if let Some((overflowed, query, optimizer)) = guard {
            undo_where(&overflowed, (&mut self.query, &mut self.optimizer), (&query, &optimizer));
        }
    }

    /// What the widths are asked about a part of the batch. Keys that are to enter the queue are added to
    /// `fresh_keys`.
    pub(crate) fn tasks(&mut self, batch: Batch, part: usize, fresh_keys: &mut Vec<Tensor<2>>) -> Vec<Task> {
        let Batch { views, labels } = batch;
        match self.recipe.method {
            Method::Mocov2 => {
                let keys = self.keys(views[1].clone(), part);
                fresh_keys.push(keys.clone());
                let queue = self.queue.as_ref().expect("MoCo v2 has a queue").keys.clone();
                vec![Task { views: views[..1].to_vec(), question: Question::KeyInQueue { keys, queue } }]
            }
            Method::Mocov3 => {
                // Each view is told from the other's key.
                let mut keys: Vec<Tensor<2>> = views.iter().map(|view| self.keys(view.clone(), part)).collect();
                keys.reverse();
                let temperature = self.recipe.temperature;
                let task =
                    |(view, keys)| Task { views: vec![view], question: Question::KeyInBatch { keys, temperature } };
                views.into_iter().zip(keys).map(task).collect()
            }
            Method::Simclr => vec![Task { views, question: Question::OtherView }],
            Method::Supervised => vec![Task { views, question: Question::Label(labels) }],
        }
    }

    /// The momentum encoder's embeddings, `[n, d]`, with batch statistics and without a graph.
    ///
    /// Where the batch is split for its statistics, it is shuffled first, so that a query and its
    /// key are normalised among different images and the statistics leak nothing.
    fn keys(&mut self, views: Tensor<4>, part: usize) -> Tensor<2> {
        let splits = self.recipe.bn_splits;
        let key = self.key.as_mut().expect("the method has a momentum encoder");
        let mut pass = Pass::new(key, 0, Mode::Train { splits }).in_precision(self.recipe.precision);
        if splits == 1 {
            return normalize(self.encoder.project(views, &mut pass));
        }
        let round = self.steps * self.recipe.accumulate as u64 + part as u64;
        let shuffle = epoch_order(self.recipe.seed, round, views.dims()[0]);
        let mut back = vec![0; shuffle.len()];
        for (place, image) in shuffle.iter().enumerate() {
            back[*image as usize] = place as u32;
        }
        let [shuffle, back] = [shuffle, back].map(|order| {
            let count = order.len();
            Tensor::<1, Int>::from_data(TensorData::new(order, [count]), &views.device())
        });
        normalize(self.encoder.project(views.select(0, shuffle), &mut pass)).select(0, back)
    }
}
