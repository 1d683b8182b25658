//! Whole training steps of the methods that distil a trained teacher, and of SwAV.

use std::{
    collections::BTreeMap,
    slice,
    sync::{Arc, Mutex},
};

use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use slimclr_core::{
    config::Config,
    encoder::{BackboneKind, Encoder, EncoderConfig, Predictors},
    forward::{Forward, Mode},
    gradient::GradientSum,
    head::HeadKind,
    kernel::ranks::Ranks,
    layout::Shapes,
    loss::{
        distill::{Distillation, Temperatures},
        reweight::Reweighting,
    },
    method::{
        Batch, Bingo, Compress, Disco, Memory, Method, PretextTask, Queue, Seed, Simdis, SimdisTask, SimdisTeacher,
        Sinkhorn, StepContext, StepOptions, StepPlan, Swav, SwavQueue, Teacher, Trainer,
        bingo::CutMix,
        compress::CompressMemory,
        simdis::{SimdisNetwork, SimdisView},
    },
    optim::{Optimizer, OptimizerKind},
    parameter::Parameters,
    schedule::cosine_momentum,
    width::Widths,
};

use crate::{
    compare::{Differences, Fingerprint, values},
    fill::{Kind, data, filled_as, input},
    optimizers::check_trust_coefficient,
    runners::{field, queue, text},
};

/// A network of a case.
#[derive(Deserialize)]
struct Network {
    depth: usize,
    width_multiplier: f64,
    #[serde(deserialize_with = "pairs")]
    params: Shapes,
}

/// Reads a list of names and shapes.
fn pairs<'de, D: Deserializer<'de>>(list: D) -> Result<Shapes, D::Error> {
    Ok(Vec::<(String, Vec<usize>)>::deserialize(list)?.into_iter().collect())
}

impl Network {
    /// Returns the architecture that has these parameters.
    fn encoder(&self, prototypes: usize) -> Encoder {
        let shape = |name: &str| self.params.get(name);
        let first = shape("fc.0.weight").or(shape("projection_head.0.weight"));
        let last = ["fc.2.weight", "fc.3.weight", "projection_head.3.weight"].into_iter().find_map(shape);
        let head = match (first, shape("fc.2.weight")) {
            (None, _) => HeadKind::None,
            (_, Some(_)) => HeadKind::Disco,
            _ => HeadKind::Swav,
        };
        let names = self.params.keys().filter_map(|name| name.strip_prefix("pred_")?.strip_suffix(".0.weight"));
        let names: Vec<String> = names.map(|name| if name == "ttemadv" { "sema_dv" } else { name }.into()).collect();
        let config = EncoderConfig {
            multiplier: self.width_multiplier,
            hidden: first.map_or(1, |shape| shape[0]),
            predictors: if names.is_empty() { Predictors::None } else { Predictors::Simdis(names) },
            prototypes,
            ..EncoderConfig::new(BackboneKind::Cifar, self.depth, head, last.map_or(1, |shape| shape[0]))
        };
        config.build().unwrap()
    }

    /// Returns the name in the authors' state dict of the parameter that we call `name`.
    fn author_name(&self, name: &str) -> String {
        let plain = name.replace("pred_sema_dv.", "pred_ttemadv.");
        let in_head = name.starts_with("fc.") || name.starts_with("pred_");
        let candidates = [name, &plain].map(|name| if in_head { name.replace(".bn.0.", ".") } else { name.into() });
        let swav = candidates[0].replacen("fc.", "projection_head.", 1);
        let known = candidates.into_iter().chain([swav]).find(|name| self.params.contains_key(name));
        known.unwrap_or_else(|| panic!("the case has no parameter {name}"))
    }

    /// Generates the values that the authors' code began with.
    fn filled(&self, encoder: &Encoder, (salt, prefix): (&str, &str), dtype: DType) -> Parameters {
        filled_as(encoder.layout(), salt, dtype, |name| (prefix.to_owned(), self.author_name(name)))
    }
}

/// A method whose state the runner reads while the trainer has it.
#[derive(Debug)]
struct Watched<M>(Arc<Mutex<M>>);

impl<M> Clone for Watched<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Method> Method for Watched<M> {
    fn prepare(&self, query: &mut Parameters) {
        self.0.lock().unwrap().prepare(query);
    }

    fn tasks(&mut self, batch: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        self.0.lock().unwrap().tasks(batch, step)
    }

    fn adjust(&self, gradients: GradientSum, plan: StepPlan) -> GradientSum {
        self.0.lock().unwrap().adjust(gradients, plan)
    }

    fn remember(&mut self, memories: Vec<Tensor<2>>) {
        self.0.lock().unwrap().remember(memories);
    }
}

/// BINGO with the box of the case's step, instead of a random one.
#[derive(Debug, Clone)]
struct BingoWithBox {
    method: Bingo,
    cut: CutMix,
}

impl Method for BingoWithBox {
    fn tasks(&mut self, Batch { views, .. }: Batch, step: &mut StepContext) -> Vec<Box<dyn PretextTask>> {
        vec![Box::new(self.method.task(views.try_into().unwrap(), &self.cut, step))]
    }
}

/// A case, and the student before its first step.
struct Training<'a> {
    case: &'a Value,
    salt: &'a str,
    dtype: DType,
    device: Device,
    student: Network,
    encoder: Encoder,
    query: Parameters,
    differences: Differences,
}

impl<'a> Training<'a> {
    fn new(case: &'a Value, dtype: DType) -> Self {
        let (salt, student) = (text(case, "salt"), field::<Network>(case, "student"));
        let encoder = student.encoder(case["prototypes"].as_u64().unwrap_or(0) as usize);
        let found: Vec<String> = encoder.layout().named_shapes().map(|(name, _)| student.author_name(&name)).collect();
        let query = student.filled(&encoder, (salt, "student."), dtype);
        let mut differences = Differences::default();
        differences.exact("number of parameters", &[found.len()], &[student.params.len()]);
        Self { case, salt, dtype, device: Device::flex(), student, encoder, query, differences }
    }

    /// Returns the teacher of the case.
    fn teacher(&self) -> (Network, Teacher) {
        let network = field::<Network>(self.case, "teacher");
        let encoder = network.encoder(0);
        let parameters = network.filled(&encoder, (self.salt, "teacher."), self.dtype);
        (network, Teacher { encoder, parameters, average: None })
    }

    fn optimizer(&self, kind: OptimizerKind, encoder: &Encoder) -> Optimizer {
        let [momentum, weight_decay] = ["momentum", "weight_decay"].map(|name| field(self.case, name));
        Optimizer::new(kind, encoder.layout(), momentum, weight_decay).decaying_all(true)
    }

    fn trainer(&self, method: Box<dyn Method>, kind: OptimizerKind) -> Trainer {
        let has_queue =
            self.case["method"] != "swav" && self.case["method"] != "compress" && self.case["queue"].is_u64();
        Trainer {
            method,
            options: StepOptions::new(
                &Config {
                    widths: vec![1.0],
                    bn_splits: 1,
                    distill: Distillation::None,
                    reweighting: Reweighting::Equal,
                    ..Config::cifar10()
                },
                &Widths::full(),
            ),
            key: Some(self.query.clone()),
            query: self.query.clone(),
            queue: has_queue.then(|| Queue { keys: queue(self.case, "queue", self.dtype), pointer: 0 }),
            optimizer: self.optimizer(kind, &self.encoder),
            loss_scale: None,
            encoder: self.encoder.clone(),
            steps: 0,
            ranks: Ranks::default(),
        }
    }

    /// Generates the views of a step, of `sizes` pixels each.
    fn batch(&self, names: impl Iterator<Item = String>, sizes: impl Iterator<Item = usize>) -> Batch {
        let images: usize = field(self.case, "n");
        let view =
            |(name, size): (String, usize)| input(self.salt, &name, [images, 3, size, size], self.dtype, &self.device);
        Batch {
            views: names.zip(sizes).map(view).collect(),
            labels: Tensor::zeros([images], &self.device),
            teacher_features: None,
        }
    }

    /// Returns the tolerances of losses, and of everything else.
    fn allowed(&self) -> [f64; 2] {
        match (self.dtype, text(self.case, "method")) {
            (DType::F64, _) => [1e-7; 2],
            (_, "simdis" | "swav") => [1e-3, 1e-2],
            _ => [1e-4, 1e-3],
        }
    }

    /// Compares a step's loss, relative to the first step's.
    fn loss(&mut self, step: usize, found: f64) {
        let expected = |step: usize| field::<f64>(&self.case["steps"][step], "loss");
        let (name, scale) = (format!("loss of step {step}"), self.allowed()[0] * expected(0).abs());
        self.differences.within(&name, found, expected(step), scale);
    }

    /// Compares parameters or running statistics with `field`, if the case has it.
    fn parameters(&mut self, name: &str, network: &Network, parameters: &Parameters) {
        let expected: BTreeMap<String, Fingerprint> = match self.case.get(name) {
            Some(_) => field(self.case, name),
            None => return,
        };
        let allowed = self.allowed()[1];
        let mut compared = 0;
        for (spec, value) in parameters.named() {
            let author_name = network.author_name(&spec.name);
            let Some(expected) = expected.get(&author_name) else { continue };
            compared += 1;
            // A bias before a batch norm has no gradient but rounding errors, which LARC magnifies.
            if author_name == "projection_head.0.bias" && self.dtype == DType::F32 {
                continue;
            }
            self.differences.fingerprint(&format!("{name}: {author_name}"), &values(value), expected, allowed);
        }
        self.differences.exact(&format!("parameters of {name}"), &[compared], &[expected.len()]);
    }

    fn matrix<const D: usize>(&mut self, name: &str, found: &Tensor<D>) {
        let (expected, allowed): (Fingerprint, f64) = (field(self.case, name), self.allowed()[1]);
        self.differences.fingerprint(name, &values(found), &expected, allowed);
    }

    fn steps(&self) -> usize {
        self.case["steps"].as_array().unwrap().len()
    }

    /// Compares the student after the last step.
    fn finish(mut self, trainer: &Trainer) -> Differences {
        let student =
            std::mem::replace(&mut self.student, Network { depth: 0, width_multiplier: 1.0, params: Shapes::new() });
        self.parameters("student_after", &student, &trainer.query);
        self.parameters("student_running", &student, &trainer.query);
        if let Some(key) = &trainer.key {
            for name in ["key_after", "key_running", "student_ema_after", "student_ema_running"] {
                self.parameters(name, &student, key);
            }
        }
        self.differences
    }
}

pub fn distill_training(case: &Value, dtype: DType) -> Differences {
    match text(case, "method") {
        "seed" => seed(Training::new(case, dtype)),
        "disco" => disco(Training::new(case, dtype)),
        "bingo" => bingo(Training::new(case, dtype)),
        "compress" => compress(Training::new(case, dtype)),
        "simdis" => simdis(Training::new(case, dtype)),
        "swav" => swav(Training::new(case, dtype)),
        method => panic!("unknown method {method}"),
    }
}

/// Returns the plan of a step at the case's learning rate.
fn plan(case: &Value) -> StepPlan {
    let key_momentum = case["ema_momentum"].as_f64().unwrap_or(1.0);
    StepPlan { rate: field(case, "lr"), key_momentum, ..StepPlan::trial(0.0) }
}

/// Takes the case's steps, with views of these names. Compares the losses.
fn train(training: &mut Training, trainer: &mut Trainer, views: &[&str], plan: impl Fn(usize) -> StepPlan) {
    for step in 0..training.steps() {
        let names = views.iter().map(|name| format!("{name}{step}"));
        let batch = training.batch(names, std::iter::repeat(32));
        let outcome = trainer.step(batch, plan(step));
        training.loss(step, values(&outcome.losses.weighted[0])[0]);
    }
}

fn seed(mut training: Training) -> Differences {
    let case = training.case;
    let (network, teacher) = training.teacher();
    let temperatures =
        Temperatures { teacher: field(case, "teacher_temperature"), student: field(case, "temperature") };
    let method = Seed { teacher, temperatures, queue: field(case, "queue"), patch_queue: None };
    let method = Arc::new(Mutex::new(method));
    let mut trainer = training.trainer(Box::new(Watched(method.clone())), OptimizerKind::Sgd);
    trainer.key = None;
    train(&mut training, &mut trainer, &["x"], |_| plan(case));
    training.matrix("queue_after", &trainer.queue.as_ref().unwrap().keys);
    training.parameters("teacher_running", &network, &method.lock().unwrap().teacher.parameters);
    training.finish(&trainer)
}

fn disco(mut training: Training) -> Differences {
    let case = training.case;
    let (network, teacher) = training.teacher();
    let method = Arc::new(Mutex::new(Disco {
        teacher,
        temperature: field(case, "temperature"),
        queue: field(case, "queue"),
        mse_devices: 1,
        only_mse: false,
    }));
    let mut trainer = training.trainer(Box::new(Watched(method.clone())), OptimizerKind::Sgd);
    train(&mut training, &mut trainer, &["xq", "xk"], |_| plan(case));
    training.matrix("queue_after", &trainer.queue.as_ref().unwrap().keys);
    training.parameters("teacher_running", &network, &method.lock().unwrap().teacher.parameters);
    training.finish(&trainer)
}

fn bingo(mut training: Training) -> Differences {
    let case = training.case;
    let (network, teacher) = training.teacher();
    let key_weights = field(case, "lam");
    let method = Bingo { teacher, temperature: field(case, "temperature"), queue: field(case, "queue"), key_weights };
    let cut = |step: usize| {
        let record = &case["steps"][step]["cutmix"];
        CutMix::new(field(record, "lam"), field(record, "center"), [32, 32])
    };
    let method = Arc::new(Mutex::new(BingoWithBox { method, cut: cut(0) }));
    let mut trainer = training.trainer(Box::new(Watched(method.clone())), OptimizerKind::Sgd);
    trainer.key = None;
    for step in 0..training.steps() {
        method.lock().unwrap().cut = cut(step);
        training.differences.number(
            "share outside the box",
            cut(step).share,
            field(&case["steps"][step]["cutmix"], "lam_adjusted"),
            1e-12,
        );
        let names = ["xq", "xk", "xpq", "xpk"].map(|name| format!("{name}{step}"));
        let batch = training.batch(names.into_iter(), std::iter::repeat(32));
        let outcome = trainer.step(batch, StepPlan { epoch: field(&case["steps"][step], "epoch"), ..plan(case) });
        training.loss(step, values(&outcome.losses.weighted[0])[0]);
    }
    training.matrix("queue_after", &trainer.queue.as_ref().unwrap().keys);
    training.parameters("teacher_running", &network, &method.lock().unwrap().method.teacher.parameters);
    training.finish(&trainer)
}

fn compress(mut training: Training) -> Differences {
    let case = training.case;
    let (network, teacher) = training.teacher();
    let memory = |name: &str, dim: usize| {
        let entries = data(training.salt, name, &[field(case, "queue"), dim], Kind::Weight, training.dtype);
        Memory { entries: Tensor::from_data(entries, (&training.device, training.dtype)), pointer: 0 }
    };
    let method = Arc::new(Mutex::new(Compress {
        kind: CompressMemory::Momentum,
        temperature: field(case, "temperature"),
        teacher_memory: memory("memory_t", teacher.encoder.backbone().features().full()),
        student_memories: vec![memory("memory_s", training.encoder.backbone().features().full())],
        teacher,
    }));
    let mut trainer = training.trainer(Box::new(Watched(method.clone())), OptimizerKind::Sgd);
    train(&mut training, &mut trainer, &["x"], |_| plan(case));
    // The authors' code updates the copy after the optimiser's step, ours before the next one's forward passes.
    let query = trainer.query.clone();
    trainer.key.as_mut().unwrap().ema_update(&query, field(case, "ema_momentum"));
    let method = method.lock().unwrap();
    training.matrix("memory_t_after", &method.teacher_memory.entries);
    training.matrix("memory_s_after", &method.student_memories[0].entries);
    training.parameters("teacher_running", &network, &method.teacher.parameters);
    training.finish(&trainer)
}

fn simdis(mut training: Training) -> Differences {
    let case = training.case;
    check_trust_coefficient(case);
    let views: Vec<SimdisView> = field(case, "views");
    let mode = case["teacher_mode"].as_str().unwrap_or("none");
    let (network, teacher) = if mode == "none" {
        (None, None)
    } else {
        let (network, teacher) = training.teacher();
        let prefix = if mode == "offline" { "teacher_ema." } else { "teacher." };
        let average = network.filled(&teacher.encoder, (training.salt, prefix), training.dtype);
        let optimizer = training.optimizer(OptimizerKind::SimdisLars, &teacher.encoder);
        let optimizer = (mode == "online").then_some(optimizer);
        (Some(network), Some(SimdisTeacher { network: teacher, average, optimizer }))
    };
    let method = Arc::new(Mutex::new(Simdis { names: views, teacher }));
    let mut trainer = training.trainer(Box::new(Watched(method.clone())), OptimizerKind::SimdisLars);
    for step in 0..training.steps() {
        let names = [0, 1].map(|view| format!("x{step}.{view}"));
        let batch = training.batch(names.into_iter(), std::iter::repeat(32));
        let key_momentum = cosine_momentum(field(case, "ema_base"), step as f64, field(case, "ema_total"));
        let plan = StepPlan { key_momentum, ..plan(case) };
        let of_teacher = method.lock().unwrap().teacher.clone().filter(|teacher| teacher.optimizer.is_some());
        let of_teacher = of_teacher.map_or(0.0, |teacher| teacher_loss(teacher, &batch.views, key_momentum));
        let outcome = trainer.step(batch, plan);
        training.loss(step, values(&outcome.losses.weighted[0])[0] + of_teacher);
    }
    if let (Some(network), Some(teacher)) = (&network, &method.lock().unwrap().teacher) {
        for name in ["teacher_after", "teacher_running"] {
            training.parameters(name, network, &teacher.network.parameters);
        }
        for name in ["teacher_ema_after", "teacher_ema_running"] {
            training.parameters(name, network, &teacher.average);
        }
    }
    training.finish(&trainer)
}

/// Computes the loss of a teacher's own training, which the authors' code adds to the student's.
fn teacher_loss(mut teacher: SimdisTeacher, views: &[Tensor<4>], momentum: f64) -> f64 {
    let (encoder, mode) = (teacher.network.encoder.clone(), Mode::Train { splits: 1 });
    teacher.average.ema_update(&teacher.network.parameters, momentum);
    let views = [views[0].clone(), views[1].clone()];
    let averages = views.clone().map(|view| Forward::new(&mut teacher.average, 0, mode).project(&encoder, view));
    let projections = BTreeMap::from([(SimdisNetwork::StudentEma, averages)]);
    let task = SimdisTask::new(views, slice::from_ref(&SimdisView::SemaDv), &projections);
    let outputs = task.forward(&mut Forward::new(&mut teacher.network.parameters, 0, mode), &encoder);
    values(&task.loss(&task.output(outputs)).value)[0]
}

fn swav(mut training: Training) -> Differences {
    let case = training.case;
    check_trust_coefficient(case);
    let [dim, queued] = ["dim", "queue"].map(|name| field(case, name));
    let rows = || Tensor::zeros([queued, dim], (&training.device, training.dtype));
    let method = Arc::new(Mutex::new(Swav {
        prototypes: training.encoder.prototypes().unwrap().weight(),
        dim,
        sinkhorn: Sinkhorn { epsilon: field(case, "epsilon"), iterations: field(case, "iterations") },
        temperature: field(case, "temperature"),
        queue: (queued > 0).then(|| SwavQueue { rows: vec![rows(), rows()], entered: 0 }),
        queue_after: 0.0,
        freeze: field(case, "freeze_iterations"),
    }));
    let mut trainer = training.trainer(Box::new(Watched(method.clone())), OptimizerKind::Larc);
    trainer.key = None;
    let (crops, sizes): (Vec<usize>, Vec<usize>) = (field(case, "crops"), field(case, "sizes"));
    let sizes: Vec<usize> = crops.iter().zip(sizes).flat_map(|(count, size)| vec![size; *count]).collect();
    let rates: Vec<f64> = field(case, "lr");
    for (step, rate) in rates.into_iter().enumerate() {
        let names = (0..sizes.len()).map(|view| format!("x{step}.{view}"));
        let batch = training.batch(names, sizes.iter().copied());
        // An epoch is a step here, so that the prototypes are frozen for this number of steps.
        let outcome = trainer.step(batch, StepPlan { rate, ..StepPlan::trial(step as f64) });
        training.loss(step, values(&outcome.losses.weighted[0])[0]);
    }
    if let Some(queue) = &method.lock().unwrap().queue {
        training.matrix("queue_after", &Tensor::<2>::cat(queue.rows.clone(), 0));
    }
    training.finish(&trainer)
}
