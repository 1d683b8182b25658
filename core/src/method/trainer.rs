//! The training step that all methods share (paper section 3).

use burn::tensor::{Device, Tensor};

use super::{self as method, Batch, Method, PretextTask, Queue, StepContext, StepOptions, StepPlan};
use crate::{
    augment::{ViewRng, view_rng},
    config::Config,
    encoder::Encoder,
    forward::{Forward, Mode, StemCache},
    gradient::{GradientSum, WidthGradient},
    interference::surgery::{Surgery, combine},
    kernel::{ranks::Ranks, threads::with_awake_workers},
    loss::{Loss, StepLosses, distill::Output},
    optim::{
        Optimizer,
        loss_scale::{LossScale, undo_where},
        stage_rates::rate_factors,
    },
    parameter::Parameters,
    precision::Precision,
};

/// The number of the full network's dropout among the views of an image, of which none is so high. Narrower widths count
/// down.
const NOISE: u64 = u64::MAX - 1;

/// The state of training: the encoder, and everything that a step updates.
#[derive(Debug, Clone)]
pub struct Trainer {
    /// The architecture.
    pub encoder: Encoder,
    /// The training method.
    pub method: Box<dyn Method>,
    /// Options of the step.
    pub options: StepOptions,
    /// The encoder that gradients update.
    pub query: Parameters,
    /// The momentum encoder of the keys, if the method has one.
    pub key: Option<Parameters>,
    /// The queue of negatives, if the method has one.
    pub queue: Option<Queue>,
    /// The optimiser of the query encoder.
    pub optimizer: Optimizer,
    /// Keeps gradients in the range of 16-bit floats.
    pub loss_scale: Option<LossScale>,
    /// Steps taken.
    pub steps: u64,
    /// The ranks that train together, each with an equal part of every batch; all else is the same on all ranks.
    pub ranks: Ranks,
}

/// The results of one step.
pub struct StepOutcome {
    /// The losses of the widths that were trained, and what is reported of them.
    pub losses: StepLosses,
    /// The gradient of each weighted loss. Empty unless the plan asks for them.
    pub widths: Vec<WidthGradient>,
    /// Their sum, after surgery and before clipping.
    pub gradients: GradientSum,
}

impl Trainer {
    /// Starts training with random parameters, the same in key and query encoder, and a queue of random keys.
    ///
    /// # Panics
    /// If the method needs a teacher: pass it to [`method::from_config`], and the method to
    /// [`with_method`](Self::with_method).
    pub fn new(config: &Config, encoder: Encoder, device: &Device) -> Self {
        let query = Parameters::init(encoder.layout().clone(), config.seed, device);
        Self::from_parameters(config, encoder, query)
    }

    /// Starts training from given parameters.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn from_parameters(config: &Config, encoder: Encoder, query: Parameters) -> Self {
        let method = method::from_config(config, &encoder, None, &query.device());
        Self::with_method(config, method, encoder, query)
    }

    /// Starts training with this method, which need not be the one that `config` names.
    pub fn with_method(config: &Config, method: Box<dyn Method>, encoder: Encoder, query: Parameters) -> Self {
        let (layout, device) = (encoder.layout().clone(), query.device());
        Self {
            options: StepOptions::new(config, layout.widths()),
            key: method.has_keys().then(|| query.clone()),
            query,
            // Another seed than the weights' ("queu"): the queue must not repeat their random numbers.
            queue: (method.queue_length() > 0)
                .then(|| Queue::random(config.dim, method.queue_length(), config.seed ^ 0x71756575, &device)),
            optimizer: Optimizer::of_run(config, &layout).with_rate_factors(rate_factors(config, &encoder)),
            loss_scale: (config.precision == Precision::F16).then(|| LossScale::new(&device)),
            method,
            encoder,
            steps: 0,
            ranks: Ranks::default(),
        }
    }

    /// Averages the running statistics over the ranks, each of which has normalised other images.
    pub fn average_statistics(&mut self) {
        self.query.average_statistics(&self.ranks);
        self.key.iter_mut().for_each(|key| key.average_statistics(&self.ranks));
        self.method.average_statistics(&self.ranks);
    }

    /// Takes one training step, on this rank's part of the batch.
    ///
    /// The widths' graphs share only weights. So the step computes one width at a time and drops its activations before
    /// the next; the sum of the widths' gradients is the gradient of the summed loss.
    pub fn step(&mut self, batch: Batch, plan: StepPlan) -> StepOutcome {
        // On CPUs only: kernels of a GPU are launched from the caller's thread.
        if self.query.device() == Device::flex() {
            return with_awake_workers(|| self.run_step(batch, plan));
        }
        self.run_step(batch, plan)
    }

    fn run_step(&mut self, batch: Batch, plan: StepPlan) -> StepOutcome {
        let layout = self.encoder.layout().clone();
        if let Some(key) = &mut self.key {
            key.ema_update(&self.query, plan.key_momentum);
        }
        self.method.prepare(&mut self.query);
        let trained = if plan.trains_subnetworks { layout.widths().len() } else { 1 };
        let weights = if plan.trains_subnetworks { self.options.loss_weights.clone() } else { vec![1.0] };
        let (parts, surgery) = (self.options.accumulate, self.options.surgery);
        let needs_per_width = plan.keeps_width_gradients || surgery != Surgery::None;
        let mut widths: Vec<_> =
            (0..if needs_per_width { trained } else { 0 }).map(|width| WidthGradient::new(&layout, width)).collect();
        let mut gradients = GradientSum::new(&layout);
        let mut losses: Vec<Vec<Loss>> = vec![Vec::new(); trained];
        let (mut new_keys, mut memories) = (Vec::new(), Vec::new());
        for (number, part) in batch.parts(parts).enumerate() {
            let round = self.round(number);
            for (place, task) in (0..).zip(self.tasks(part, number, plan)) {
                let (mut teachers, mut stem) = (Vec::new(), StemCache::default());
                for (width, weight) in weights.iter().enumerate() {
                    let noise = view_rng(self.options.seed, round, place, NOISE - width as u64);
                    let forward = (width, noise);
                    let of_width = self.train_width(forward, &*task, &teachers, weight / parts as f64, &mut stem);
                    losses[width].push(of_width.loss);
                    if surgery == Surgery::None {
                        gradients = gradients.plus(&layout, &of_width.gradient);
                    }
                    if let Some(sum) = widths.get_mut(width) {
                        sum.add_all(of_width.gradient);
                    }
                    teachers.push(of_width.output);
                }
                new_keys.extend(task.keys().map(|keys| self.ranks.gather(keys)));
                memories.push(task.memories(&teachers).into_iter().map(|rows| self.ranks.gather(rows)).collect());
            }
        }
        widths.iter_mut().for_each(|width| width.average(&self.ranks));
        gradients = match surgery {
            Surgery::None => gradients.averaged(&self.ranks),
            surgery => combine(surgery, &layout, &widths, self.options.seed ^ self.steps),
        };
        match &self.loss_scale {
            // Only surgery needed them.
            _ if !plan.keeps_width_gradients => widths.clear(),
            Some(scale) => {
                let unscale = scale.scale().recip();
                widths.iter_mut().for_each(|width| width.scale(&unscale));
            }
            None => {}
        }
        gradients = self.method.adjust(gradients, plan);
        self.optimise(&mut gradients, plan.rate);
        if let Some(queue) = &mut self.queue {
            queue.replace_oldest(Tensor::cat(new_keys, 0));
        }
        self.method.remember(joined(memories));
        self.steps += 1;
        let losses = StepLosses::sum(losses).of_all(&self.ranks);
        StepOutcome { losses, widths, gradients }
    }

    /// Computes the forward and backward pass of one width, with the random numbers of its dropout.
    fn train_width(
        &mut self,
        (width, noise): (usize, ViewRng),
        task: &dyn PretextTask,
        teachers: &[Output],
        weight: f64,
        stem: &mut StemCache,
    ) -> WidthStep {
        let Self { encoder, options, .. } = self;
        let mode = Mode::Train { splits: options.bn_splits };
        let forward = Forward::tracked(&mut self.query, width, mode).with_stem_cache(stem);
        let forward = forward.with_noise(noise).synchronised(options.normalised(&self.ranks));
        let mut forward = forward.in_precision(options.precision).recomputing(options.recompute);
        let output = task.output(task.forward(&mut forward, encoder));
        let loss = options.weighted(task.loss(&output), (&output, teachers), task.targets(), weight);
        let scaled = match &self.loss_scale {
            Some(scale) => loss.value.clone() * scale.scale(),
            None => loss.value.clone(),
        };
        let gradient = WidthGradient::of(encoder.layout(), width, forward.gradients(scaled));
        WidthStep { output: output.detached(), loss: loss.map(Tensor::without_autodiff), gradient }
    }

    /// Unscales and clips the gradients, and updates the query encoder unless a gradient has overflowed.
    fn optimise(&mut self, gradients: &mut GradientSum, rate: f64) {
        let guard = self.loss_scale.as_mut().map(|scale| {
            let overflowed = scale.unscale(gradients);
            (overflowed, self.query.clone(), self.optimizer.clone())
        });
        match self.options.clip_norm {
            0.0 => self.optimizer.step(&mut self.query, gradients, rate),
            highest => self.optimizer.step(&mut self.query, &gradients.clipped(highest), rate),
        }
        if let Some((overflowed, query, optimizer)) = guard {
            undo_where(&overflowed, (&mut self.query, &mut self.optimizer), (&query, &optimizer));
        }
    }

    /// Returns the number of this rank's part `number` of a batch among all parts of all steps, on which random numbers
    /// depend.
    fn round(&self, number: usize) -> u64 {
        let part = self.steps * self.options.accumulate as u64 + number as u64;
        part * self.ranks.count() as u64 + self.ranks.rank() as u64
    }

    /// Makes the pretext tasks of the part `number` of a batch.
    pub(crate) fn tasks(&mut self, part: Batch, number: usize, plan: StepPlan) -> Vec<Box<dyn PretextTask>> {
        let (round, options) = (self.round(number), &self.options);
        let mut step = StepContext {
            plan,
            precision: options.precision,
            encoder: &self.encoder,
            query: &self.query,
            ranks: &self.ranks,
            parts: options.accumulate * self.ranks.count(),
            key: self.key.as_mut(),
            queue: self.queue.as_ref(),
            bn_splits: options.bn_splits,
            normalised: options.normalised(&self.ranks),
            shuffle: (options.seed, round),
        };
        self.method.tasks(part, &mut step)
    }
}

/// Joins the memories of all tasks, each a list of the same length, to one list.
fn joined(of_tasks: Vec<Vec<Tensor<2>>>) -> Vec<Tensor<2>> {
    let kinds = of_tasks.first().map_or(0, Vec::len);
    let of_kind = |kind: usize| of_tasks.iter().map(|memories| memories[kind].clone()).collect();
    (0..kinds).map(|kind| Tensor::cat(of_kind(kind), 0)).collect()
}

/// The results of one width on one task.
struct WidthStep {
    output: Output,
    loss: Loss,
    gradient: WidthGradient,
}
